/**
 * The wallet of a volume: one Ed25519 key in Sui's own text form (`suiprivkey1…`), in a file of
 * mode 0600. It signs transactions, and it gives the volume's envelope a secret that only the
 * holder of the key can compute: Ed25519 signatures are deterministic.
 */
import { readFileSync } from 'node:fs';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { messageOf, systemCode, TuskError } from '../base/errors.ts';
import { createFile } from '../base/files.ts';
import type { SuiId } from '../base/ids.ts';

/** Who signs for an address. */
export interface Signs {
  readonly address: SuiId;
  /** Signs BCS TransactionData under Sui's transaction intent. */
  signTransaction(bytes: Uint8Array): Promise<{ signature: string }>;
}

/** A key that signs. */
export class Wallet implements Signs {
  readonly address: SuiId;
  readonly #keypair: Ed25519Keypair;

  private constructor(keypair: Ed25519Keypair) {
    this.#keypair = keypair;
    this.address = keypair.toSuiAddress();
  }

  /** A new random key. */
  static generate(): Wallet {
    return new Wallet(Ed25519Keypair.generate());
  }

  /** From its text form (`suiprivkey1…`); rejects `wrong_key`. */
  static fromText(text: string): Wallet {
    try {
      return new Wallet(Ed25519Keypair.fromSecretKey(text.trim()));
    } catch (cause) {
      throw new TuskError(
        'wrong_key',
        'this is no Ed25519 key in the form suiprivkey1…; export the key of the wallet again',
        { cause },
      );
    }
  }

  /** The key as text, for a file or a backup: whoever has it can spend and sign. */
  toText(): string {
    return this.#keypair.getSecretKey();
  }

  signTransaction(bytes: Uint8Array): Promise<{ signature: string }> {
    return this.#keypair.signTransaction(bytes);
  }

  /** Deterministic signature (64 bytes) over a message, under Sui's personal-message intent. */
  async signPersonal(message: Uint8Array): Promise<Buffer> {
    const { signature } = await this.#keypair.signPersonalMessage(message);
    // Serialized form: scheme flag, 64 bytes of signature, 32 bytes of public key.
    return Buffer.from(signature, 'base64').subarray(1, 65);
  }
}

/** Writes a new wallet to its file (mode 0600); EEXIST if there is one: a key is never written over. */
export const saveWallet = (path: string, wallet: Wallet): void =>
  createFile(path, `${wallet.toText()}\n`, 0o600);

/** Reads a wallet from its file; rejects `not_found` or `wrong_key`, naming the file. */
export const loadWallet = (path: string): Wallet => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const code = systemCode(cause) === 'ENOENT' ? 'not_found' : 'io';
    throw new TuskError(
      code,
      `the wallet ${path} cannot be read: ${messageOf(cause)}; nothing was changed: put it back`,
      { cause },
    );
  }
  try {
    return Wallet.fromText(text);
  } catch (cause) {
    throw new TuskError('wrong_key', `the wallet ${path} is damaged: ${messageOf(cause)}`, {
      cause,
    });
  }
};
