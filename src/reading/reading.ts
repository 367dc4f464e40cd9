/**
 * Reads request bodies. Short ones here and now; long ones in threads, so that no other request waits for them, each
 * within a bound of memory that ends the reading and not the process.
 */
import type { Writable } from 'node:stream';
import { GatewayError } from '../errors.ts';
import { type BodyQuestion, type BodyRecord, readRecord } from '../references/body-record.ts';
import { type Answered, Lane } from './lane.ts';

/** The record of a body or why there is none, and the body as it came: a thread takes it away meanwhile. */
type ReadBody =
  { readonly record: BodyRecord; readonly body: Buffer } | { readonly failure: GatewayError; readonly body: Buffer };

export interface Reading {
  /**
   * @param body is not to be used any more: what comes back is the same bytes
   * @param payer takes turns with others @param outgoing closes where the record is no longer waited for
   * @throws GatewayError `body_too_complex` where it took too much memory or time, `reading_unavailable`: the body is lost
   * @throws ClientGone
   */
  read(question: BodyQuestion, body: Buffer, payer: string, outgoing: Writable): Promise<ReadBody>;
  close(): Promise<void>;
}

/** Of any shape, read in 10 ms. */
const SHORT_BYTES = 128 * 1024;
/** A chat of this length never waits behind longer bodies. */
const MEDIUM_BYTES = 2_000_000;

/** Tells a thread that all others come first. */
export const PATIENT = 'patient';

export interface ReadRequest {
  readonly question: BodyQuestion;
  readonly bytes: ArrayBuffer;
  readonly length: number;
}

export interface ReadAnswer {
  readonly answered: Answered<BodyRecord>;
  readonly bytes: ArrayBuffer;
}

export function createReading(): Reading {
  const lane = (heapMb: number, deadlineMs: number, isShortLived: boolean) =>
    new Lane<ReadAnswer>({
      script: SCRIPT,
      workerData: isShortLived ? PATIENT : undefined,
      heapMb,
      deadlineMs,
      isShortLived,
      exhausted,
    });
  const medium = lane(160, 10_000, false);
  const long = lane(512, 60_000, true);

  async function readHere(question: BodyQuestion, body: Buffer): Promise<ReadBody> {
    try {
      return { record: await readRecord(question, body), body };
    } catch (error) {
      if (error instanceof GatewayError) return { failure: error, body };
      throw error;
    }
  }

  async function readThere(question: BodyQuestion, body: Buffer, payer: string, outgoing: Writable): Promise<ReadBody> {
    const { length } = body;
    const bytes = ownBytes(body);
    const message: ReadRequest = { question, bytes, length };
    const there = length <= MEDIUM_BYTES ? medium : long;
    const answer = await there.run({ payer, message, transfer: [bytes], wantedBy: outgoing });
    const back = Buffer.from(answer.bytes, 0, length);
    if ('value' in answer.answered) return { record: answer.answered.value, body: back };
    const { code, detail } = answer.answered.failure;
    return { failure: new GatewayError(code, detail === undefined ? {} : { detail }), body: back };
  }

  return {
    read: (question, body, payer, outgoing) =>
      body.length <= SHORT_BYTES ? readHere(question, body) : readThere(question, body, payer, outgoing),
    close: async () => void (await Promise.all([medium.close(), long.close()])),
  };
}

const SCRIPT = new URL('./reading-thread.ts', import.meta.url);

const exhausted = (limit: string) =>
  new GatewayError('body_too_complex', { detail: `Reading it took more than ${limit}. Send less in one request.` });

/** `readBody` receives long bodies into memory of their own, which can be handed over without a copy. */
function ownBytes({ buffer, byteOffset, length }: Buffer): ArrayBuffer {
  if (byteOffset === 0 && buffer instanceof ArrayBuffer) return buffer;
  return buffer.slice(byteOffset, byteOffset + length) as ArrayBuffer;
}
