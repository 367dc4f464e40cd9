/** Whatever a stream holds and however it is split, its bytes go out unchanged, its end after the ledger has it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVENTS, JSON_BODY, LINES, meter, split } from '../../support/usage/metered.ts';

const DONE = 'data: [DONE]';
const USAGE_ALONE = 'data: {"choices":[],"usage":{"prompt_tokens":3}}';
const events = fc.constantFrom(
  ...[
    'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}',
    'event: ping',
    ': OPENROUTER PROCESSING',
    '',
    'data',
  ],
  ...['data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":2}}', 'data: {"half', 'id: 7', 'data: {"model":"m"}'],
  ...[USAGE_ALONE, USAGE_ALONE, 'data: é😀"usage": 1'],
);
const ends = fc.constantFrom('\n', '\r\n', '\r');

/** Each event, with the empty line behind it; behind the last event that is one, anything. */
const streams = fc.record({
  written: fc.array(events, { maxLength: 8 }),
  end: ends,
  isDone: fc.boolean(),
  after: fc.constantFrom('', ': bye\n\n', USAGE_ALONE, '\n', 'data: [DONE]\n\n'),
});
const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

const chunksOf = (text: string, at: readonly number[]) => {
  const bytes = Buffer.from(text);
  return split(
    bytes,
    at.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b),
  );
};
const textOf = (latin1: string) => Buffer.from(latin1, 'latin1').toString();

test('of a stream all goes out but hidden usage, and the last event only after the ledger has it', async () => {
  const seen = { hidden: 0, held: 0 };
  await fc.assert(
    fc.asyncProperty(streams, places, fc.boolean(), async ({ written, end, isDone, after }, at, hidesUsage) => {
      const text = (event: string) => (event === '' ? end : event + end + end);
      const before = written.map(text).join('');
      const passed = written
        .filter((event) => !hidesUsage || event !== USAGE_ALONE)
        .map(text)
        .join('');
      const rest = isDone ? DONE + end + end + after : '';
      const { out, beforeKept, ended, facts } = await meter(chunksOf(before + rest, at), { hidesUsage });
      expect(textOf(out)).toBe(passed + rest);
      expect(ended).toBe(1);
      expect(facts).toMatchObject({ isCut: false });
      expect(textOf(beforeKept ?? '?')).not.toContain('[DONE]');
      expect(
        passed.startsWith(textOf(beforeKept ?? '?')),
        'before the ledger only what comes before the last event',
      ).toBe(true);
      seen.hidden += Number(passed !== before);
      seen.held += Number(isDone);
    }),
    { numRuns: 3_000 },
  );
  expect(Math.min(seen.hidden, seen.held)).toBeGreaterThan(100);
});

test.each([
  ['JSON', JSON_BODY],
  ['lines', LINES],
  ['events', EVENTS],
  ['audio', { 'content-type': 'audio/mpeg' }],
])('whatever bytes a body of %s has, they go out, and the ledger is asked once', async (_name, headers) => {
  const chunks = fc.array(
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    { maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(chunks, fc.constantFrom('ends', 'cut'), async (body, how) => {
      const { out, ended, facts } = await meter(body, { headers }, how);
      const came = Buffer.concat(body).toString('latin1');
      if (how === 'ends') expect(out).toBe(came);
      else expect(came.startsWith(out)).toBe(true);
      expect(ended).toBe(1);
      expect(facts).toMatchObject({ bytesOut: came.length, isCut: how === 'cut', usage: undefined });
    }),
    { numRuns: 1_000 },
  );
});
