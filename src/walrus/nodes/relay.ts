/**
 * The upload relay of a network's settings (official HTTP API): it takes a registered blob's bytes
 * once, stores all slivers on the nodes, and answers with the certificate. It is trusted with
 * nothing: the certificate is verified here, and a relay that fails is left alone for a while.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { request } from 'undici';
import { z } from 'zod';
import { abortError, deadline, throwIfAborted } from '../../base/abort.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { BlobId, Mist, SuiId, TxDigest } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { RateLimiter } from '../../base/rate.ts';
import { native } from '../../native.ts';
import { Connections } from '../connections.ts';
import type { RelayTicket } from '../network.ts';

const CONFIG_MS = 10_000;
/** Longest silence: while it takes no bytes, and until it answers after the last one. */
const SILENT_MS = 120_000;
const AVOID_MS = 5 * 60_000;
const NONCE_BYTES = 32;
const CHUNK_BYTES = 64 * 1024;
/** A certificate names at most every node, and its message is written out as numbers. */
const ANSWER_BYTES_MAX = 64 * 1024;

const amount = z.int().nonnegative();
const tipConfig = z.union([
  z.literal('no_tip'),
  z.object({
    send_tip: z.object({
      address: z.string().regex(/^0x[0-9a-fA-F]{1,64}$/),
      kind: z.union([
        z.object({ const: amount }),
        z.object({ linear: z.object({ base: amount, encoded_size_mul_per_kib: amount }) }),
      ]),
    }),
  }),
]);

const byte = z.int().min(0).max(255);
const relayAnswer = z.object({
  confirmation_certificate: z.object({
    signers: z.array(z.int().nonnegative()),
    serialized_message: z.array(byte),
    signature: z.string(),
  }),
});

/** How the owner's settings name the relay. */
export interface RelaySettings {
  readonly url: string;
  /** Most that one blob's tip may be. */
  readonly tipMax: Mist;
}

/** What a registration pays a relay: the tip's transfer, and the first input that binds it to the blob. */
export interface TipPayment {
  readonly address: SuiId;
  readonly amount: Mist;
  /** sha256(blob) ‖ sha256(nonce) ‖ size u64 LE: 72 bytes (PROTOCOL, upload relay). */
  readonly binding: Buffer;
}

/** A certificate as the relay gave it, not yet verified. */
export interface RawCertificate {
  readonly signers: readonly number[];
  readonly message: Buffer;
  readonly signature: Buffer;
}

/** A blob whose bytes stand in a file. */
export interface BlobFile {
  readonly blobId: BlobId;
  readonly size: number;
  readonly nShards: number;
  readonly path: string;
}

/** The relay of one network. */
export class Relay {
  readonly #settings: RelaySettings;
  readonly #upload: RateLimiter;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #connections = new Connections({ connect: { timeout: 5_000 } });
  #avoidedUntilMs = 0;

  constructor(
    settings: RelaySettings,
    upload: RateLimiter,
    parts: { readonly clock: Clock; readonly random: Random },
  ) {
    this.#settings = settings;
    this.#upload = upload;
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  /** Is the relay that the ticket was made for worth asking now? */
  serves(ticket: RelayTicket): boolean {
    return ticket.url === this.#settings.url && !this.#isAvoided;
  }

  get #isAvoided(): boolean {
    return this.#clock.monotonicMs() < this.#avoidedUntilMs;
  }

  /** Leaves the relay alone for a while; what it would have taken goes to the nodes. */
  avoid(blobId: BlobId, error: unknown): void {
    this.#avoidedUntilMs = this.#clock.monotonicMs() + AVOID_MS;
    const facts = { relay: this.#settings.url, blobId, why: messageOf(error) };
    log('walrus').warn(facts, 'the upload relay failed: storing on the nodes themselves');
  }

  /**
   * Asks what the relay wants for a blob. Undefined when it cannot be used now (the blob then goes
   * to the nodes); rejects `over_budget` when its tip is above the owner's limit.
   */
  async ticket(
    blob: BlobFile,
    signal?: AbortSignal,
  ): Promise<{ ticket: RelayTicket; payment?: TipPayment } | undefined> {
    if (this.#isAvoided) return undefined;
    const { url } = this.#settings;
    const config = await this.#config(signal).catch((error: unknown) => {
      throwIfAborted(signal);
      this.avoid(blob.blobId, error);
      return undefined;
    });
    if (config === undefined) return undefined;
    if (config === 'no_tip') return { ticket: { url, tip: '0' } };
    const { address, kind } = config.send_tip;
    const tip = tipOf(kind, blob);
    if (tip > this.#settings.tipMax) throw this.#tooDear(blob.blobId, tip);
    const nonce = this.#random.bytes(NONCE_BYTES);
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(blob.size));
    const parts = [
      await sha256OfFile(blob.path),
      createHash('sha256').update(nonce).digest(),
      size,
    ];
    return {
      ticket: { url, tip: tip.toString(), nonce: nonce.toString('base64url') },
      payment: { address, amount: tip, binding: Buffer.concat(parts) },
    };
  }

  #tooDear(blobId: BlobId, tip: Mist): TuskError {
    const { url, tipMax } = this.#settings;
    return new TuskError(
      'over_budget',
      `the upload relay ${url} asks a tip of ${tip} MIST for blob ${blobId}, above the limit of ${tipMax} MIST. Nothing was sent or paid and staged files are safe; raise relayTipMaxMist of the network in the settings file, or remove relayUrl to store on the nodes directly.`,
      { details: { blobId, tip, tipMax } },
    );
  }

  /** Sends the bytes of a registered blob, once, at the rate of uploads; the certificate is not verified. */
  async send(
    blob: BlobFile,
    object: { readonly objectId: SuiId; readonly deletable: boolean },
    registration: { readonly digest: TxDigest; readonly ticket: RelayTicket },
    signal: AbortSignal,
    onSent: (bytes: number) => void,
  ): Promise<RawCertificate> {
    const { nonce } = registration.ticket;
    const query = new URLSearchParams({
      blob_id: blob.blobId,
      ...(nonce === undefined ? {} : { nonce, tx_id: registration.digest }),
      ...(object.deletable ? { deletable_blob_object: object.objectId } : {}),
      encoding_type: 'RS2',
    });
    const limit = deadline(signal, undefined);
    try {
      const text = await this.#ask(`blob-upload-relay?${query}`, limit.signal, {
        method: 'POST',
        headers: { 'content-length': String(blob.size) },
        body: Readable.from(this.#bytesOf(blob, limit.signal, onSent), { objectMode: false }),
      });
      const { confirmation_certificate: answer } = relayAnswer.parse(JSON.parse(text));
      return {
        signers: answer.signers,
        message: Buffer.from(answer.serialized_message),
        signature: Buffer.from(answer.signature, 'base64url'),
      };
    } finally {
      limit.controller.abort(new TuskError('aborted', 'the exchange with the relay is over'));
      limit.done();
    }
  }

  async *#bytesOf(
    blob: BlobFile,
    signal: AbortSignal,
    onSent: (bytes: number) => void,
  ): AsyncGenerator<Buffer> {
    for await (const chunk of createReadStream(blob.path, { highWaterMark: CHUNK_BYTES })) {
      await this.#upload.take((chunk as Buffer).length, signal);
      yield chunk as Buffer;
      onSent((chunk as Buffer).length);
    }
  }

  async #config(signal: AbortSignal | undefined): Promise<z.infer<typeof tipConfig>> {
    const limit = deadline(signal, CONFIG_MS);
    try {
      return tipConfig.parse(JSON.parse(await this.#ask('tip-config', limit.signal, {})));
    } finally {
      limit.done();
    }
  }

  async #ask(
    path: string,
    signal: AbortSignal,
    options: Omit<Parameters<typeof request>[1] & object, 'dispatcher' | 'signal'>,
  ): Promise<string> {
    const url = `${this.#settings.url.replace(/\/$/, '')}/v1/${path}`;
    // A body is not sent twice, so no connection is used that may have died meanwhile.
    const limits = { headersTimeout: SILENT_MS, bodyTimeout: SILENT_MS, reset: true };
    const dispatcher = this.#connections.agent;
    try {
      const answer = await request(url, { ...options, ...limits, dispatcher, signal });
      let text = '';
      for await (const chunk of answer.body.setEncoding('utf8')) {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) {
          answer.body.destroy();
          break;
        }
      }
      if (answer.statusCode === 200) return text;
      throw new TuskError(
        'node_refused',
        `the upload relay answers ${answer.statusCode}: ${text.slice(0, 300)}`,
        { details: { status: answer.statusCode } },
      );
    } catch (error) {
      if (signal.aborted) throw abortError(signal);
      if (error instanceof TuskError) throw error;
      throw new TuskError('network', `the upload relay cannot be reached: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** Closes the connections. */
  close(): Promise<void> {
    return this.#connections.close();
  }
}

type TipKind = Exclude<z.infer<typeof tipConfig>, string>['send_tip']['kind'];

/** MIST for one blob: the same for all, or a base and so much for each KiB of the encoded blob. */
const tipOf = (kind: TipKind, { size, nShards }: BlobFile): Mist => {
  if ('const' in kind) return BigInt(kind.const);
  const { base, encoded_size_mul_per_kib: perKib } = kind.linear;
  const { encodedBytes } = native.blobShape(size, nShards);
  return BigInt(base) + BigInt(perKib) * BigInt(Math.ceil(encodedBytes / 1024));
};

const sha256OfFile = async (path: string): Promise<Buffer> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest();
};
