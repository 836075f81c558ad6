#!/usr/bin/env node
/** The command line: one file a command, loaded when its word is the first, or all of them for help. */
import { Command, CommanderError } from 'commander';
import { Exit, fail } from './command.ts';

type Register = (program: Command) => void;

const COMMANDS: Record<string, () => Promise<Register>> = {
  localnet: async () => (await import('./localnet.ts')).registerLocalnet,
  create: async () => (await import('./create.ts')).registerCreate,
  mount: async () => (await import('./mount.ts')).registerMount,
  umount: async () => (await import('./umount.ts')).registerUmount,
  restart: async () => (await import('./restart.ts')).registerRestart,
  sync: async () => (await import('./sync.ts')).registerSync,
  status: async () => (await import('./status.ts')).registerStatus,
  limit: async () => (await import('./limit.ts')).registerLimit,
  cache: async () => (await import('./cache.ts')).registerCache,
  'blob-id': async () => (await import('./blob-id.ts')).registerBlobId,
};

/** What must be loaded to understand `word`, the first of the command line. */
const loadersFor = (word: string | undefined): (() => Promise<Register>)[] => {
  if (word === '--version' || word === '-V') return [];
  const one = word !== undefined && Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  return one === undefined ? Object.values(COMMANDS) : [one];
};

const program = new Command('tuskfs')
  .description('Walrus decentralised storage, mounted as an ordinary drive')
  .version('0.1.0')
  .showHelpAfterError('(`tuskfs help` lists the commands)')
  .exitOverride();

try {
  for (const load of loadersFor(process.argv[2])) (await load())(program);
  await program.parseAsync();
} catch (error) {
  // Commander has already said what is wrong with the words of the command.
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? Exit.done : Exit.usage);
  fail(error);
}
