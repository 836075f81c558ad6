/**
 * Places of values in a running transaction (inputs, results, the gas coin), and Move's rules for
 * using them: taken once, borrowed for one command, changed by one borrower at a time.
 */
import { argumentError } from '../errors.ts';
import type { MoveValue } from './context.ts';
import { isCopyable, type Parameter } from './function.ts';

/** A place that holds a value, raw bytes of a pure input, or nothing any more. */
export interface Slot {
  value: MoveValue | undefined;
  readonly pure: Uint8Array | undefined;
  readonly gas: boolean;
  /** `shared`: may not be taken by value; `readonly`: may not be changed either. */
  readonly fixed: 'no' | 'shared' | 'readonly';
}

/** A slot with a value in it. */
export const slotOf = (value: MoveValue | undefined, rest: Partial<Slot> = {}): Slot => ({
  value,
  pure: undefined,
  gas: false,
  fixed: 'no',
  ...rest,
});

/** The value of a slot that must hold one; `index` is the argument's place, for the error. */
export const wholeOf = (slot: Slot, index: number): MoveValue => {
  if (slot.value !== undefined) return slot.value;
  if (slot.pure !== undefined)
    throw argumentError(index, 'INVALID_USAGE_OF_PURE_ARGUMENT', 'an object is needed here');
  throw argumentError(index, 'INVALID_VALUE_USAGE', 'the value was already taken');
};

/** What the current command has borrowed. */
export class Loans {
  readonly #borrowed = new Map<Slot, 'ref' | 'sole'>();

  /** Ends all borrowing, with the command. */
  end(): void {
    this.#borrowed.clear();
  }

  /** Takes, borrows or borrows to change, as a parameter asks. */
  use(slot: Slot, by: Parameter['by'], index: number): void {
    if (by === 'value') {
      if (!isCopyable(slot.value!.type)) this.take(slot, index);
      return;
    }
    if (by === 'mut' && slot.fixed === 'readonly')
      throw argumentError(index, 'INVALID_OBJECT_BY_MUT_REF', 'the object is not mutable here');
    const before = this.#borrowed.get(slot);
    if (before === 'sole' || (before === 'ref' && by === 'mut'))
      throw argumentError(index, 'INVALID_REFERENCE_ARGUMENT', 'the value is borrowed already');
    this.#borrowed.set(slot, by === 'mut' ? 'sole' : 'ref');
  }

  /** Takes the value out for good. */
  take(slot: Slot, index: number): void {
    if (slot.fixed !== 'no')
      throw argumentError(index, 'INVALID_OBJECT_BY_VALUE', 'a shared object cannot be taken');
    if (this.#borrowed.has(slot))
      throw argumentError(index, 'CANNOT_MOVE_BORROWED_VALUE', 'the value is borrowed');
    slot.value = undefined;
  }
}
