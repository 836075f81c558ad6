/** The import table of the rooms: who may import whom. `npm run ok` fails on any other import. */
const rooms = {
  base: [],
  'native.ts': ['base'],
  fuse: ['base', 'native.ts'],
  log: ['base', 'native.ts'],
  meta: ['base', 'log'],
  format: ['base'],
  walrus: ['base', 'native.ts'],
  content: ['base', 'native.ts', 'log', 'meta', 'format'],
  vfs: ['base', 'meta', 'content'],
  flush: ['base', 'format', 'walrus', 'native.ts'],
  volume: ['base', 'native.ts', 'log', 'meta', 'format', 'walrus', 'content', 'flush'],
  daemon: [
    'base',
    'native.ts',
    'fuse',
    'log',
    'meta',
    'format',
    'walrus',
    'content',
    'vfs',
    'flush',
    'volume',
  ],
  localnet: ['base', 'native.ts'],
  cli: ['base', 'native.ts', 'daemon', 'volume', 'localnet'],
};

/** Rooms of which only types may be imported. */
const typesOnly = { content: ['walrus'], vfs: ['fuse'], flush: ['meta'] };

const pathOf = room =>
  room.endsWith('.ts') ? `^src/${room.replace('.', '\\.')}$` : `^src/${room}/`;

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-unknown-room',
      severity: 'error',
      from: { path: '^src' },
      to: { path: '^src', pathNot: Object.keys(rooms).map(pathOf) },
    },
    ...Object.entries(rooms).map(([room, may]) => ({
      name: `${room}-imports`,
      severity: 'error',
      from: { path: pathOf(room) },
      to: { path: '^src', pathNot: [room, ...may, ...(typesOnly[room] ?? [])].map(pathOf) },
    })),
    ...Object.entries(typesOnly).map(([room, types]) => ({
      name: `${room}-types-only`,
      severity: 'error',
      from: { path: pathOf(room) },
      to: { path: types.map(pathOf), dependencyTypesNot: ['type-only'] },
    })),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
    exclude: { path: '^test' },
  },
};
