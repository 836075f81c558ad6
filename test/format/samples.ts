/** Fixed inputs of the golden files of version 1, and arbitraries of all structures. */
import fc from 'fast-check';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import type { ManifestRoot, PackRef, SealedRef } from '../../src/format/manifest.ts';
import type { Compression, DirectoryEntry, PackHeader, Place } from '../../src/format/pack.ts';
import { HEADER_BYTES, SlotKind } from '../../src/format/pack.ts';

const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n }).map(b => Buffer.from(b));
const u32 = fc.integer({ min: 0, max: 1 << 22 });

/** A place whose lengths belong together. */
export const placeAt = (slot: number, offset: number): fc.Arbitrary<Place> =>
  fc.record({ plain: u32, zstd: fc.boolean() }).map(({ plain, zstd }) => ({
    slot,
    offset,
    sealedBytes: zstd && plain > 0 ? Math.floor(plain / 2) + 16 : plain + 16,
    plainBytes: plain,
    compression: (zstd && plain > 0 ? 1 : 0) as Compression,
  }));

/** Entries end to end from the end of the header. */
export const entries = fc
  .array(fc.tuple(placeAt(0, 0), bytes(32), fc.constantFrom(...Object.values(SlotKind))), {
    maxLength: 20,
  })
  .map(list => {
    let at = HEADER_BYTES;
    return list.map(([place, identity, kind], slot): DirectoryEntry => {
      const entry = { ...place, slot, offset: at, identity, kind };
      at += place.sealedBytes;
      return entry;
    });
  });

const blobId = bytes(32).map(blobIdFromBytes);

const packRef: fc.Arbitrary<PackRef> = fc.oneof(
  fc.record({
    blobId,
    packId: bytes(16),
    salt: bytes(32),
    size: fc.integer({ min: 1, max: 2 ** 40 }),
    nShards: fc.integer({ min: 1, max: 1000 }),
  }),
  fc.record({
    blobId: fc.constant(undefined),
    packId: bytes(16),
    salt: bytes(32),
    size: fc.constant(0),
    nShards: fc.constant(0),
  }),
);

/** References into a few packs. */
export const refs = (count: number): fc.Arbitrary<SealedRef[]> =>
  fc.array(packRef, { minLength: 1, maxLength: 3 }).chain(packs =>
    fc.array(
      fc
        .tuple(placeAt(3, 5000), bytes(32), fc.constantFrom(...packs))
        .map(([place, identity, pack]) => ({ ...place, identity, pack })),
      { minLength: count, maxLength: count },
    ),
  );

/** A manifest root with as many leaves as its index needs. */
export const root: fc.Arbitrary<ManifestRoot> = fc.integer({ min: 0, max: 5000 }).chain(groups =>
  fc.record({
    volumeId: bytes(16),
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    previous: fc.option(blobId, { nil: undefined }),
    timeMs: fc.integer({ min: 0, max: 2 ** 42 }),
    indexSchema: fc.integer({ min: 1, max: 9 }),
    groupBytes: fc.constant(65536),
    indexBytes: fc.constant(groups * 65536),
    leaves: refs(Math.ceil(groups / 1024)),
  }),
);

/** A header whose places lie inside. */
export const header: fc.Arbitrary<PackHeader> = fc
  .record({ packId: bytes(16), salt: bytes(32), hasRoot: fc.boolean() })
  .chain(({ packId, salt, hasRoot }) =>
    fc.tuple(placeAt(0, 600), placeAt(1, 0)).map(([root, directory]) => {
      const offset = root.offset + root.sealedBytes;
      return {
        packId,
        salt,
        contentBytes: offset + directory.sealedBytes,
        envelopeBytes: hasRoot ? 296 : 0,
        directory: { ...directory, offset },
        root: hasRoot ? root : undefined,
      };
    }),
  );

const fill = (n: number, byte: number): Buffer => Buffer.alloc(n, byte);

/** The volume of the golden files. */
export const goldenVolume = {
  volumeId: fill(16, 1),
  volumeKey: fill(32, 2),
  passphrase: 'Grüße ﬁsh 鍵',
  walletSecret: fill(32, 3),
  recoveryKey: fill(32, 4),
  salt: fill(32, 5),
  packId: fill(16, 6),
};

const oldPack: PackRef = {
  blobId: blobIdFromBytes(fill(32, 8)),
  packId: fill(16, 9),
  salt: fill(32, 10),
  size: 445_556,
  nShards: 1000,
};
const thisPack: PackRef = {
  blobId: undefined,
  packId: fill(16, 6),
  salt: fill(32, 5),
  size: 0,
  nShards: 0,
};

/** Values of the golden structures. */
export const golden = {
  header: {
    packId: fill(16, 6),
    salt: fill(32, 5),
    contentBytes: 3000,
    envelopeBytes: 296,
    directory: { slot: 3, offset: 2500, sealedBytes: 500, plainBytes: 900, compression: 1 },
    root: { slot: 2, offset: 2000, sealedBytes: 500, plainBytes: 484, compression: 0 },
  } satisfies PackHeader,
  directory: {
    volumeId: fill(16, 1),
    packId: fill(16, 6),
    entries: [
      {
        kind: SlotKind.data,
        identity: fill(32, 11),
        slot: 0,
        offset: 456,
        sealedBytes: 1016,
        plainBytes: 1000,
        compression: 0,
      },
      {
        kind: SlotKind.indexGroup,
        identity: fill(32, 12),
        slot: 1,
        offset: 1472,
        sealedBytes: 528,
        plainBytes: 65_536,
        compression: 1,
      },
    ] satisfies DirectoryEntry[],
  },
  leaf: [
    {
      identity: fill(32, 12),
      pack: thisPack,
      slot: 1,
      offset: 1472,
      sealedBytes: 528,
      plainBytes: 65_536,
      compression: 1,
    },
    {
      identity: fill(32, 13),
      pack: oldPack,
      slot: 70,
      offset: 400_000,
      sealedBytes: 4112,
      plainBytes: 4096,
      compression: 0,
    },
  ] satisfies SealedRef[],
  root: {
    volumeId: fill(16, 1),
    sequence: 7,
    previous: blobIdFromBytes(fill(32, 8)),
    timeMs: 1_790_000_000_000,
    indexSchema: 1,
    groupBytes: 65_536,
    indexBytes: 69_632,
    leaves: [
      {
        identity: fill(32, 14),
        pack: thisPack,
        slot: 2,
        offset: 2000,
        sealedBytes: 400,
        plainBytes: 384,
        compression: 0,
      },
    ],
  } satisfies ManifestRoot,
};
