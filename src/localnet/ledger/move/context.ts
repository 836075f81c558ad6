/**
 * What a transaction sees and changes while it runs: objects by id, dynamic fields, fresh ids,
 * events. Nothing reaches the store before the whole transaction has succeeded; a failed one
 * throws its context away.
 */
import { deriveDynamicFieldID } from '@mysten/sui/utils';
import { blake2b256, idOf } from '../hash.ts';
import {
  type CoinData,
  type MetadataData,
  MetadataField,
  SystemInnerField,
  type SystemState,
  u64,
  type VersionedData,
} from '../layouts.ts';
import type { ObjectValue, Owner, StoredObject } from '../objects.ts';
import type { NewEvent, View } from '../store.ts';
import { layoutOf, type NetworkIds, type TypeNames } from '../types.ts';

/** A value of Move: an object (its data has an `id`), or plain data. */
export interface MoveValue {
  readonly type: string;
  readonly data: unknown;
}

/** An object that the transaction holds. */
interface Held {
  readonly type: string;
  readonly data: { id: string };
  /** undefined while the object is only a value, not yet given to anybody. */
  owner: Owner | undefined;
  gone: 'no' | 'deleted' | 'wrapped';
}

/** The network that a context belongs to. */
export interface Network {
  readonly ids: NetworkIds;
  readonly names: TypeNames;
}

/** Id of a blob's attribute field. */
const metadataFieldId = (blobId: string): string =>
  deriveDynamicFieldID(blobId, 'vector<u8>', METADATA_KEY);
const METADATA_NAME = Buffer.from('metadata');
const METADATA_KEY = Uint8Array.of(METADATA_NAME.length, ...METADATA_NAME);

/** Id of the state field of System or Staking. */
export const stateFieldId = (objectId: string, version: bigint): string =>
  deriveDynamicFieldID(objectId, 'u64', u64.serialize(version).toBytes());

/** What became of an object: what it was before, what it is now. */
export interface Change {
  readonly id: string;
  readonly before: StoredObject | undefined;
  readonly after: ObjectValue | undefined;
  readonly operation: 'CREATED' | 'DELETED' | 'NONE';
}

/** State of one running transaction; `digest` is what fresh ids are derived from. */
export class MoveContext {
  readonly network: Network;
  readonly events: NewEvent[] = [];
  readonly #view: View;
  readonly #digest: Uint8Array;
  readonly #held = new Map<string, Held>();
  readonly #before = new Map<string, StoredObject>();
  readonly #created = new Set<string>();
  readonly #metadata = new Map<string, MetadataData | undefined>();
  #state: { id: string; name: bigint; value: SystemState } | undefined;
  #freshIds = 0n;

  constructor(network: Network, view: View, digest: Uint8Array) {
    this.network = network;
    this.#view = view;
    this.#digest = digest;
  }

  /** Takes an input object in and returns its value; one that is only read is not written back. */
  hold(object: StoredObject, written = true): MoveValue {
    const layout = layoutOf(this.network.names, object.type);
    const data = layout?.parse(object.contents) ?? { id: object.id };
    if (!written) return { type: object.type, data };
    this.#before.set(object.id, object);
    this.#held.set(object.id, { type: object.type, data, owner: object.owner, gone: 'no' });
    return { type: object.type, data };
  }

  /** A fresh object id, as Sui derives them. */
  freshId(): string {
    const id = idOf(
      blake2b256(Uint8Array.of(0xf1), this.#digest, u64.serialize(this.#freshIds++).toBytes()),
    );
    this.#created.add(id);
    return id;
  }

  /** A new object; `data` carries a fresh id, or the id of an object that was inside another. */
  emerge<T extends { id: string }>(type: string, data: T): MoveValue {
    this.#held.set(data.id, { type, data, owner: undefined, gone: 'no' });
    return { type, data };
  }

  /** A new coin. */
  newCoin(type: string, balance: bigint): MoveValue {
    return this.emerge<CoinData>(type, { id: this.freshId(), balance });
  }

  /** Ends an object. */
  destroy(id: string): void {
    const held = this.#held.get(id);
    if (held !== undefined) held.gone = 'deleted';
  }

  /** Notes the end of an object that was inside another one. */
  destroyInside(type: string, data: { id: string }): void {
    this.#held.set(data.id, { type, data, owner: undefined, gone: 'deleted' });
  }

  /** Puts an object inside another one. */
  wrap(id: string): void {
    const held = this.#held.get(id);
    if (held !== undefined) held.gone = 'wrapped';
  }

  /** Gives an object to an address. */
  transfer(id: string, address: string): void {
    const held = this.#held.get(id);
    if (held !== undefined) held.owner = { kind: 'address', address };
  }

  /** System's state; changes to the returned object count. */
  systemState(): SystemState {
    if (this.#state === undefined) {
      const system = this.#view.object(this.network.ids.systemObject)!;
      const outer = layoutOf(this.network.names, system.type)!.parse(system.contents);
      const field = this.#view.object(stateFieldId(system.id, (outer as VersionedData).version))!;
      this.#before.set(field.id, field);
      this.#state = SystemInnerField.parse(field.contents);
    }
    return this.#state.value;
  }

  /** Attributes of a blob; undefined if it has none. */
  metadata(blobId: string): MetadataData | undefined {
    if (!this.#metadata.has(blobId)) {
      const field = this.#view.object(metadataFieldId(blobId));
      if (field !== undefined) this.#before.set(field.id, field);
      this.#metadata.set(blobId, field && MetadataField.parse(field.contents).value);
    }
    return this.#metadata.get(blobId);
  }

  /** Sets or (undefined) removes a blob's attributes. */
  setMetadata(blobId: string, value: MetadataData | undefined): void {
    this.metadata(blobId);
    this.#metadata.set(blobId, value);
    const field = metadataFieldId(blobId);
    if (value !== undefined && !this.#before.has(field)) this.#created.add(field);
  }

  /** What changed, once every command has succeeded. */
  changes(): Change[] {
    const changes: Change[] = [];
    for (const [id, held] of this.#held) {
      const after = held.gone === 'no' ? this.#valueOf(held) : undefined;
      this.#add(changes, id, after, held.gone === 'deleted');
    }
    for (const [blobId, value] of this.#metadata) {
      const id = metadataFieldId(blobId);
      const contents =
        value && MetadataField.serialize({ id, name: METADATA_NAME, value }).toBytes();
      const owner: Owner = { kind: 'object', parent: blobId };
      const type = this.network.names.metadataField;
      this.#addField(changes, contents && { id, type, owner, contents }, id);
    }
    if (this.#state !== undefined) {
      const { id } = this.#state;
      const contents = SystemInnerField.serialize(this.#state).toBytes();
      const before = this.#before.get(id)!;
      this.#addField(changes, { id, type: before.type, owner: before.owner, contents }, id);
    }
    return changes;
  }

  #valueOf(held: Held): ObjectValue {
    const layout = layoutOf(this.network.names, held.type);
    const contents =
      layout === undefined
        ? this.#before.get(held.data.id)!.contents
        : layout.serialize(held.data as never).toBytes();
    return { id: held.data.id, type: held.type, owner: held.owner!, contents };
  }

  /** A dynamic field counts as changed only if its bytes differ. */
  #addField(changes: Change[], after: ObjectValue | undefined, id: string): void {
    const before = this.#before.get(id);
    if (after && before && Buffer.compare(after.contents, before.contents) === 0) return;
    this.#add(changes, id, after, true);
  }

  #add(changes: Change[], id: string, after: ObjectValue | undefined, deleted: boolean): void {
    const before = this.#before.get(id);
    const isNew = this.#created.has(id) && before === undefined;
    if (after === undefined && (isNew || (before === undefined && !deleted))) return;
    const operation =
      after !== undefined ? (isNew ? 'CREATED' : 'NONE') : deleted ? 'DELETED' : 'NONE';
    changes.push({ id, before, after, operation });
  }
}
