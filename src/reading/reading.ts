/**
 * Reads request bodies. Short ones here and now; long ones in threads that run this very module, so that no other request
 * waits for them, each within a bound of memory that ends the reading and not the process.
 */
import { platform, setPriority } from 'node:os';
import type { Writable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import { GatewayError } from '../errors.ts';
import { type BodyQuestion, type BodyRecord, readRecord } from '../references/records.ts';
import { type Answered, Lane, answerAs } from './lane.ts';

/** The record of a body or why there is none, and the body as it came: a thread takes it away meanwhile. */
type ReadBody = { readonly body: Buffer } & ({ readonly record: BodyRecord } | { readonly failure: GatewayError });

export type Reading = ReturnType<typeof createReading>;

/** Of any shape, read in 10 ms. */
const SHORT_BYTES = 128 * 1024;
/** A chat of this length never waits behind longer bodies. */
const MEDIUM_BYTES = 2_000_000;

type ReadRequest = Readonly<{ question: BodyQuestion; bytes: ArrayBuffer; length: number }>;
type ReadAnswer = Readonly<{ answered: Answered<BodyRecord>; bytes: ArrayBuffer }>;

export function createReading() {
  const lane = (heapMb: number, deadlineMs: number, isShortLived: boolean) =>
    new Lane<ReadAnswer>({
      ...{ script: new URL(import.meta.url), workerData: isShortLived ? PATIENT : ORDINARY },
      ...{ heapMb, deadlineMs, isShortLived, exhausted },
    });
  const medium = lane(160, 10_000, false);
  const long = lane(512, 60_000, true);
  return {
    /**
     * @param body is not to be used any more: what comes back is the same bytes
     * @param payer takes turns with others @param outgoing closes where the record is no longer waited for
     * @throws GatewayError `body_too_complex` where it took too much memory or time, `reading_unavailable`: the body is lost
     * @throws ClientGone
     */
    async read(question: BodyQuestion, body: Buffer, payer: string, outgoing: Writable): Promise<ReadBody> {
      const { length } = body;
      if (length <= SHORT_BYTES) return toReadBody(await answerAs(() => readRecord(question, body)), body);
      const bytes = ownBytes(body);
      const message: ReadRequest = { question, bytes, length };
      const there = length <= MEDIUM_BYTES ? medium : long;
      const answer = await there.run({ payer, message, transfer: [bytes], wantedBy: outgoing });
      return toReadBody(answer.answered, Buffer.from(answer.bytes, 0, length));
    },
    close: async () => void (await Promise.all([medium.close(), long.close()])),
  };
}

const exhausted = (limit: string) =>
  new GatewayError('body_too_complex', { detail: `Reading it took more than ${limit}. Send less in one request.` });

function toReadBody(answered: Answered<BodyRecord>, body: Buffer): ReadBody {
  if ('value' in answered) return { record: answered.value, body };
  const { code, detail } = answered.failure;
  return { failure: new GatewayError(code, { detail }), body };
}

/** `readBody` receives long bodies into memory of their own, which can be handed over without a copy. */
function ownBytes({ buffer, byteOffset, length }: Buffer): ArrayBuffer {
  if (byteOffset === 0 && buffer instanceof ArrayBuffer) return buffer;
  return buffer.slice(byteOffset, byteOffset + length) as ArrayBuffer;
}

// What follows runs in the threads alone, which this mark tells from all others.

const ORDINARY = 'reads bodies';
const PATIENT = 'reads bodies after all others';

// On Linux a priority is the thread's own (setpriority(2)): on one core, all others come before long bodies
if (workerData === PATIENT && platform() === 'linux') setPriority(10);

if (workerData === PATIENT || workerData === ORDINARY) {
  parentPort?.on('message', ({ question, bytes, length }: ReadRequest) => {
    void answerAs(() => readRecord(question, Buffer.from(bytes, 0, length))).then((answered) => {
      parentPort?.postMessage({ answered, bytes } satisfies ReadAnswer, [bytes]);
    });
  });
}
