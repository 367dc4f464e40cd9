/** An answer that goes through the meter, chunk by chunk, as the transport does it. */
import { setImmediate as turn } from 'node:timers/promises';
import type { AnswerForm } from '../../../src/usage/answer-reading.ts';
import { type AnswerFacts, createMeter } from '../../../src/usage/meter.ts';

interface Metered {
  readonly form?: AnswerForm;
  readonly hidesUsage?: boolean;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the ledger does while the end is held back. */
  readonly ledger?: (facts: AnswerFacts) => void | Promise<void>;
}

export const EVENTS = { 'content-type': 'text/event-stream; charset=utf-8' };
export const LINES = { 'content-type': 'application/x-ndjson' };
export const JSON_BODY = { 'content-type': 'application/json' };

/** @param how `cut` breaks off behind the chunks */
export async function meter(chunks: readonly Buffer[], options: Metered = {}, how: 'ends' | 'cut' = 'ends') {
  const {
    form = 'openai',
    hidesUsage = false,
    status = 200,
    headers = EVENTS,
    ledger = turn as () => Promise<void>,
  } = options;
  const facts: AnswerFacts[] = [];
  const ids: string[] = [];
  const out: Buffer[] = [];
  const gone = () => Buffer.concat(out).toString('latin1');
  let beforeKept: string | undefined;
  const tap = createMeter({
    form,
    hidesUsage,
    identified: (id) => void ids.push(id),
    ended: async (known) => {
      facts.push(known);
      await ledger(known);
      beforeKept = gone();
    },
  });
  tap.begin(status, headers);
  for (const chunk of chunks) out.push(await tap.take(chunk));
  if (how === 'cut') tap.cut();
  else out.push(await tap.end());
  const [known] = facts;
  if (known === undefined) throw new Error('the meter never ended');
  return { out: gone(), facts: known, ended: facts.length, ids, beforeKept };
}

/** @param ends in ascending order */
export function split(bytes: Buffer, ends: readonly number[]): Buffer[] {
  return [...ends, bytes.length].map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
}

export const singleBytes = (bytes: Buffer): Buffer[] =>
  split(
    bytes,
    Array.from({ length: bytes.length - 1 }, (_, at) => at + 1),
  );
