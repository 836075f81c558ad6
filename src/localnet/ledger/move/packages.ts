/**
 * The packages of this ledger: which functions there are, and which package may call them. The
 * original Walrus package still answers, but its `system` module aborts with EWrongVersion, as
 * on mainnet after an upgrade.
 */
import { abort, ExecutionFailure, invalid } from '../errors.ts';
import { blobFunctions, metadataFunctions } from './blob.ts';
import { coinFunctions, FRAMEWORK } from './coin.ts';
import type { Network } from './context.ts';
import { declarer, type MoveFunction, type Signature } from './function.ts';
import { storageFunctions } from './storage.ts';
import { systemFunctions } from './system.ts';

/** All callable functions of a network, by package and `module::function`. */
export interface Packages {
  /** Throws a rejection if there is no such package. */
  checkPackage(packageId: string): void;
  /** Throws an execution failure if there is no such function, or it may not be called. */
  find(packageId: string, module: string, name: string): MoveFunction;
  /** A function's declaration, callable or not; undefined if there is none. */
  describe(packageId: string, module: string, name: string): Signature | undefined;
}

/** Gathers the functions of Sui's framework and of Walrus. */
export const packagesOf = (network: Network): Packages => {
  const { ids, names } = network;
  const walrus = {
    ...systemFunctions(network),
    ...storageFunctions(network),
    ...blobFunctions(network),
    ...metadataFunctions(network),
  };
  // Clients learn the type of WAL from this function; nobody stakes on a localnet.
  const stake = declarer(names)('&mut Staking, Coin<WAL>, address', '', () => undefined);
  const byPackage = new Map([
    [FRAMEWORK, coinFunctions(names)],
    [ids.currentPackage, walrus],
    [ids.originalPackage, walrus],
  ]);
  return {
    checkPackage: packageId => {
      if (!byPackage.has(packageId))
        throw invalid(`Could not find the referenced package object ${packageId}`);
    },
    find: (packageId, module, name) => {
      const found = byPackage.get(packageId)?.[`${module}::${name}`];
      if (found === undefined)
        throw new ExecutionFailure(
          'FUNCTION_NOT_FOUND',
          `no function ${packageId}::${module}::${name} on this ledger`,
        );
      if (packageId === ids.originalPackage && module === 'system')
        throw abort(packageId, 'system', 'inner', 1, 'EWrongVersion');
      return found;
    },
    describe: (packageId, module, name) => {
      const functions = byPackage.get(packageId);
      if (functions === walrus && `${module}::${name}` === 'staking::stake_with_pool') return stake;
      return functions?.[`${module}::${name}`];
    },
  };
};
