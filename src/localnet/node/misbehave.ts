/**
 * Misbehaviour of a storage node, to be set at run time. What distorts an answer works on the
 * honest one; what distorts the way works on every request. A node may do several things at once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../base/clock.ts';
import { TuskError } from '../../base/errors.ts';
import type { SliverType } from '../../base/ids.ts';
import {
  readDecodingSymbols,
  readRecoverySymbols,
  readSliver,
  type SliverData,
  writeDecodingSymbols,
  writeRecoverySymbols,
  writeSliver,
} from './bcs.ts';
import { type Answer, type BlobPath, blobPathOf, SLIVER, send } from './routes.ts';
import type { NodeService, SignedMessage } from './service.ts';

/** What a node can be told to do; `slow` takes milliseconds (`slow=2000`). */
export const MODES = {
  silent: 'takes requests and never answers',
  slow: 'answers so many ms late (slow=MS)',
  refuses: 'closes the connection instead of answering',
  'wrong-bytes': 'alters metadata, slivers and symbols that it is asked for',
  'wrong-index': 'gives a sliver of its own under the index of another',
  'bad-proof': 'gives recovery symbols with proofs that do not hold',
  'bad-signature': 'signs confirmations wrongly',
  'wrong-epoch': 'confirms for the next epoch',
  truncated: 'closes the connection in the middle of an answer',
  endless: 'sends answers that do not end',
  '429': 'answers Too Many Requests',
  '451': 'answers Unavailable For Legal Reasons',
  '503': 'answers Service Unavailable',
  forgets: 'confirms without storing slivers',
} as const;

type Mode = keyof typeof MODES;

const STATUSES = ['429', '451', '503'] as const;
const REFUSALS = {
  429: ['RESOURCE_EXHAUSTED', 'RATE_LIMITED', 'too many requests'],
  451: ['UNAVAILABLE_FOR_LEGAL_REASONS', 'FORBIDDEN_BLOB', 'the blob is blocked on this node'],
  503: ['UNAVAILABLE', 'UNAVAILABLE', 'the service is currently unavailable'],
} as const;
const ENDLESS_CHUNK = Buffer.alloc(64 * 1024);

/** How one node misbehaves. */
export class Misbehaviour {
  /** As it was asked for. */
  readonly texts: readonly string[];
  readonly #modes = new Map<Mode, number>();

  /** Refuses words that are no mode (`usage`). */
  constructor(texts: readonly string[] = []) {
    this.texts = texts;
    for (const text of texts) {
      const [, name = '', ms] = /^([a-z0-9-]+)(?:=(\d{1,9}))?$/.exec(text) ?? [];
      if (!Object.hasOwn(MODES, name) || (name === 'slow') !== (ms !== undefined)) {
        throw new TuskError(
          'usage',
          `a node cannot be told to be ${JSON.stringify(text)}; it can be ${Object.keys(MODES).join(', ').replace('slow', 'slow=MS')}`,
        );
      }
      this.#modes.set(name as Mode, Number(ms ?? 0));
    }
  }

  /** Does it do this? */
  has(mode: Mode): boolean {
    return this.#modes.has(mode);
  }

  /** Answers a request; `honest` makes the answer that a good node gives. */
  async answer(
    node: NodeService,
    request: IncomingMessage,
    response: ServerResponse,
    honest: () => Promise<Answer>,
  ): Promise<void> {
    if (this.#modes.size === 0) return send(response, await honest());
    if (this.has('silent')) return;
    if (this.has('refuses')) return void request.destroy();
    const answer = await this.#distorted(node, request, honest);
    if (this.has('slow')) await systemClock.sleep(this.#modes.get('slow')!);
    if (response.destroyed) return;
    if (this.has('truncated')) return sendHalf(response, answer);
    if (this.has('endless')) return sendEndlessly(response, answer);
    send(response, answer);
  }

  async #distorted(
    node: NodeService,
    request: IncomingMessage,
    honest: () => Promise<Answer>,
  ): Promise<Answer> {
    const status = STATUSES.find(mode => this.has(mode));
    if (status !== undefined) return refusal(Number(status) as keyof typeof REFUSALS);
    const path = request.method === 'GET' ? blobPathOf(request) : undefined;
    if (path === undefined) return honest();
    const other = this.has('wrong-index') ? await otherSliver(node, path) : undefined;
    const answer = other ?? (await honest());
    return 'bytes' in answer
      ? { ...answer, bytes: this.#distortedBytes(path.rest, Buffer.from(answer.bytes)) }
      : path.rest.startsWith('confirmation/')
        ? this.#distortedSignature(node, answer)
        : answer;
  }

  #distortedBytes(rest: string, bytes: Buffer): Buffer {
    const wrong = this.has('wrong-bytes');
    if (rest === 'recoverySymbols' && (wrong || this.has('bad-proof'))) {
      const symbols = readRecoverySymbols(bytes)!;
      return writeRecoverySymbols(
        symbols.map(symbol => ({
          ...symbol,
          data: wrong ? flipped(symbol.data) : symbol.data,
          proof: this.has('bad-proof') ? symbol.proof.map(flipped) : symbol.proof,
        })),
      );
    }
    if (!wrong) return bytes;
    if (rest === 'decodingSymbols') {
      const lies = [...readDecodingSymbols(bytes)!].map(
        ([target, symbols]) =>
          [target, symbols.map(one => ({ ...one, data: flipped(one.data) }))] as const,
      );
      return writeDecodingSymbols(new Map(lies));
    }
    const sliver = SLIVER.test(rest) ? readSliver(bytes) : undefined;
    if (sliver === undefined) return flipped(bytes);
    return writeSliver({ ...sliver, data: flipped(sliver.data) });
  }

  #distortedSignature(node: NodeService, answer: Extract<Answer, { json: unknown }>): Answer {
    const { success } = answer.json as { success: { data: { signed: SignedMessage } } };
    const message = Buffer.from(success.data.signed.serializedMessage, 'base64');
    if (this.has('wrong-epoch')) message.writeUInt32LE(message.readUInt32LE(3) + 1, 3);
    const signed = node.sign(this.has('bad-signature') ? flipped(message) : message);
    const data = { signed: { ...signed, serializedMessage: message.toString('base64') } };
    return { ...answer, json: { success: { ...success, data } } };
  }
}

/** A copy with its middle byte altered. */
const flipped = (bytes: Uint8Array): Buffer => {
  const copy = Buffer.from(bytes);
  const middle = copy.length >> 1;
  copy[middle] = copy[middle]! ^ 0x5a;
  return copy;
};

const refusal = (code: keyof typeof REFUSALS): Answer => {
  const [status, reason, message] = REFUSALS[code];
  const domain = code === 451 ? 'storage.walrus.space' : 'global';
  const details = [{ '@type': 'ErrorInfo', reason, domain, metadata: {} }];
  return { code, json: { error: { status, code, message, details } } };
};

/** Another own sliver under the index that was asked for, or the right one under the next index. */
const otherSliver = async (
  node: NodeService,
  { blobId, rest }: BlobPath,
): Promise<Answer | undefined> => {
  const [, pair, type, status] = SLIVER.exec(rest) ?? [];
  if (pair === undefined || status !== undefined) return undefined;
  const read = async (index: number): Promise<SliverData> =>
    readSliver(await node.sliver(blobId, index, type as SliverType))!;
  const asked = await read(Number(pair));
  const another = node.readablePairs(blobId).find(one => one !== Number(pair));
  const lie =
    another === undefined
      ? { ...asked, index: (asked.index + 1) % node.identity.nShards }
      : { ...(await read(another)), index: asked.index };
  return { code: 200, bytes: writeSliver(lie) };
};

const bodyOf = (response: ServerResponse, answer: Answer, withLength: boolean): Uint8Array => {
  const isBytes = 'bytes' in answer;
  const body = isBytes ? answer.bytes : Buffer.from(JSON.stringify(answer.json));
  response.writeHead(answer.code, {
    'content-type': isBytes ? 'application/octet-stream' : 'application/json',
    ...(withLength ? { 'content-length': body.length } : {}),
  });
  return body;
};

const sendHalf = (response: ServerResponse, answer: Answer): void => {
  const body = bodyOf(response, answer, true);
  response.write(body.subarray(0, body.length >> 1), () => response.destroy());
};

const sendEndlessly = (response: ServerResponse, answer: Answer): void => {
  response.write(bodyOf(response, answer, false));
  const more = () => {
    while (!response.destroyed && response.write(ENDLESS_CHUNK));
  };
  response.on('drain', more);
  more();
};
