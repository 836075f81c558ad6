/**
 * How Move functions are declared here: parameters as text (`&mut System`, `u64`, `Coin<T>`),
 * results as types, and a body over plain data. The interpreter checks every argument against
 * the declaration before it calls the body, so bodies may trust what they get.
 */
import { type BcsType, bcs } from '@mysten/sui/bcs';
import { u64, u256 } from '../layouts.ts';
import { coinOf, STRING, type TypeNames } from '../types.ts';
import type { MoveContext, MoveValue } from './context.ts';

/** A parameter: how the argument is passed, and its type (`Coin<T>` stands for any coin). */
export interface Parameter {
  readonly by: 'value' | 'ref' | 'mut';
  readonly type: string;
}

/** What a caller must know of a function. */
export interface Signature {
  readonly parameters: readonly Parameter[];
  readonly returns: readonly string[];
  /** 1 if the function takes one coin type as its type argument. */
  readonly typeParameters: 0 | 1;
}

/** A public function of a package. */
export interface MoveFunction extends Signature {
  /** Units of computation that it costs. */
  readonly computation: number;
  readonly run: (
    context: MoveContext,
    args: readonly unknown[],
    typeArgument: string,
  ) => readonly MoveValue[];
}

/** The coin type of `Coin<T>` in declarations. */
export const ANY_COIN = coinOf('T');

const bytes = bcs.byteVector();
const PURE: Record<string, BcsType<unknown, never>> = {
  bool: bcs.bool(),
  u8: bcs.u8(),
  u16: bcs.u16(),
  u32: bcs.u32(),
  u64,
  u256,
  address: bcs.Address,
  'vector<u8>': bytes,
  [STRING]: bcs.string(),
} as unknown as Record<string, BcsType<unknown, never>>;

/** Reads a pure argument; undefined if the type cannot be pure, RangeError if the bytes do not fit. */
export const readPure = (type: string, data: Uint8Array): { value: unknown } | undefined => {
  const layout = PURE[type];
  if (layout === undefined) return undefined;
  const value = layout.parse(data);
  if (Buffer.compare(layout.serialize(value as never).toBytes(), data) !== 0)
    throw new RangeError(`${data.length} bytes are no ${type}`);
  return { value };
};

/** Can a value of this type be used more than once? */
export const isCopyable = (type: string): boolean => type in PURE;

const aliases = (names: TypeNames): Record<string, string> => ({
  System: names.system,
  Staking: names.staking,
  Blob: names.blob,
  Storage: names.storage,
  Metadata: names.metadata,
  String: STRING,
  'Option<String>': names.optionString,
  'Option<Metadata>': names.optionMetadata,
  'Coin<WAL>': names.walCoin,
  'Coin<T>': ANY_COIN,
});

/**
 * Declares functions: `declare('&mut System, u64', 'Storage', (context, system, amount) => …)`.
 * A body that names `Coin<T>` gets T as its last argument.
 */
export const declarer = (names: TypeNames) => {
  const alias = aliases(names);
  const typeOf = (text: string) => alias[text] ?? text;
  const list = (text: string) => text.split(', ').filter(Boolean);
  return <A extends unknown[]>(
    parameters: string,
    returns: string,
    body: (context: MoveContext, ...args: A) => readonly MoveValue[] | MoveValue | undefined,
    computation = 100,
  ): MoveFunction => ({
    parameters: list(parameters).map(text =>
      text.startsWith('&mut ')
        ? { by: 'mut', type: typeOf(text.slice(5)) }
        : text.startsWith('&')
          ? { by: 'ref', type: typeOf(text.slice(1)) }
          : { by: 'value', type: typeOf(text) },
    ),
    returns: list(returns).map(typeOf),
    typeParameters: `${parameters} ${returns}`.includes('Coin<T>') ? 1 : 0,
    computation,
    run: (context, args, typeArgument) => {
      const result = body(context, ...([...args, typeArgument] as A));
      if (result === undefined) return [];
      return 'type' in result ? [result] : result;
    },
  });
};
