/**
 * A wallet that is read when something is to be signed: serving a volume needs no key, and what
 * holds it takes a tenth of a second to load.
 */
import { TuskError } from '../base/errors.ts';
import type { SuiId } from '../base/ids.ts';
import type { Signs, Wallet } from './wallet.ts';

/** The wallet in a file, known to be of `address`. Signing rejects `not_found` or `wrong_key`, naming the file, and reads it again the next time. */
export const walletInFile = (path: string, address: SuiId): Signs => {
  let wallet: Wallet | undefined;
  return {
    address,
    signTransaction: async bytes => {
      const { loadWallet } = await import('./wallet.ts');
      wallet ??= checked(loadWallet(path), path, address);
      return wallet.signTransaction(bytes);
    },
  };
};

const checked = (wallet: Wallet, path: string, address: SuiId): Wallet => {
  if (wallet.address === address) return wallet;
  throw new TuskError(
    'wrong_key',
    `the wallet ${path} is that of ${wallet.address}, not of ${address}, which this volume is paid from; nothing was signed: put the right one back`,
  );
};
