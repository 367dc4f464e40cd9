/** Bodies are read in real threads, with the limits of memory that a gate gives them or smaller ones. */
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClientGone, GatewayError } from '../../../src/errors.ts';
import { Lane } from '../../../src/reading/lane.ts';
import { type Reading, createReading } from '../../../src/reading/reading.ts';
import type { BodyQuestion, InvocationRecord } from '../../../src/references/records.ts';

const QUESTION: BodyQuestion = { kind: 'invocation', rules: {}, mentions: false, mayBeEmpty: false };
const SCRIPT = new URL('../../../src/reading/reading.ts', import.meta.url);

const client = () => new Writable();
const bodyOf = (text: string) => {
  const bytes = Buffer.from(text);
  const own = Buffer.from(new ArrayBuffer(bytes.length));
  bytes.copy(own);
  return own;
};
const chatOf = (bytes: number, more = '') =>
  bodyOf(`{"model":"A"${more},"messages":[{"content":"${'x'.repeat(bytes)}"}],"fallbacks":["F"]}`);

describe('a body is read', () => {
  let reading: Reading;
  beforeEach(() => void (reading = createReading()));
  afterEach(() => reading.close());
  const read = (body: Buffer, outgoing = client()) => reading.read(QUESTION, body, 'ann', outgoing);

  test.each([[100], [200_000], [3_000_000]])('and comes back as it was, of %i bytes', async (length) => {
    const sent = chatOf(length, ',"x":"é😀"');
    const copy = Buffer.from(sent);
    const { body, ...answer } = await read(sent);
    expect(body.equals(copy)).toBe(true);
    const { references } = (answer as { record: InvocationRecord }).record;
    expect([...references.models]).toEqual(['A', 'F']);
  });

  test.each([[200_000], [3_000_000]])(
    'and refused with the body left, where it is not clean, of %i bytes',
    async (length) => {
      const sent = chatOf(length, ',"x":1,"x":2');
      const copy = Buffer.from(sent);
      const { body, ...answer } = await read(sent);
      expect(body.equals(copy)).toBe(true);
      expect((answer as { failure: GatewayError }).failure).toMatchObject({
        code: 'body_unreadable',
        detail: 'Found a repeated key.',
      });
    },
  );

  test('to no end for a client who has left', async () => {
    const [one, other] = [client(), client()];
    const first = read(chatOf(3_000_000), one);
    const second = read(chatOf(3_000_000), other);
    other.destroy();
    await expect(second).rejects.toBeInstanceOf(ClientGone);
    one.destroy();
    await expect(first).rejects.toBeInstanceOf(ClientGone);
    await expect(read(chatOf(3_000_000), one)).rejects.toBeInstanceOf(ClientGone);
    expect(await read(chatOf(3_000_000))).toHaveProperty('record');
  });
});

describe('a thread', () => {
  const lanes: Lane<object>[] = [];
  afterEach(async () => void (await Promise.all(lanes.splice(0).map((lane) => lane.close()))));
  function laneOf(options: Partial<ConstructorParameters<typeof Lane>[0]> = {}): Lane<object> {
    const exhausted = (limit: string) => new GatewayError('body_too_complex', { detail: `more than ${limit}` });
    const lane = new Lane<object>({
      ...{ script: SCRIPT, workerData: 'reads bodies', heapMb: 64, deadlineMs: 10_000, isShortLived: false, exhausted },
      ...options,
    });
    lanes.push(lane);
    return lane;
  }
  function work(text: string, payer = 'ann') {
    const body = bodyOf(text);
    const message = {
      question: QUESTION,
      bytes: body.buffer,
      length: body.length,
    };
    return { payer, message };
  }
  /** Weighs little, and takes more memory than a small thread has. */
  const heavy = `{"model":"A","x":[${'{},'.repeat(600_000)}{}]}`;

  test('that runs out of memory does not affect the others', async () => {
    const lane = laneOf({ heapMb: 24 });
    const [lost, kept] = [lane.run(work(heavy)), lane.run(work('{"model":"A"}', 'bob'))];
    await expect(lost).rejects.toMatchObject({ code: 'body_too_complex', detail: 'more than 24 MB of memory' });
    expect(await kept).toHaveProperty('answered.value');
  });

  test('that takes too long is ended, and the next one goes on', async () => {
    const lane = laneOf({ deadlineMs: 1 });
    await expect(lane.run(work(heavy))).rejects.toMatchObject({
      code: 'body_too_complex',
      detail: 'more than 0.001 s',
    });
    const patient = laneOf();
    expect(await patient.run(work(heavy))).toHaveProperty('answered.value');
  });

  test('that cannot be started reads nothing', async () => {
    const lane = laneOf({ script: new URL('./missing.ts', import.meta.url) });
    await expect(lane.run(work('{"model":"A"}'))).rejects.toMatchObject({ code: 'reading_unavailable', status: 503 });
    await expect(lane.run(work('{"model":"A"}'))).rejects.toMatchObject({ code: 'reading_unavailable' });
  });

  test('works for each payer in turn', async () => {
    const lane = laneOf();
    const order: string[] = [];
    const run = async (payer: string) => {
      await lane.run(work('{"model":"A"}', payer));
      order.push(payer);
    };
    await Promise.all(['ann', 'ann', 'ann', 'ann', 'bob', 'cyd', 'bob'].map(run));
    expect(order).toEqual(['ann', 'ann', 'bob', 'cyd', 'ann', 'bob', 'ann']);
  });

  test('that has been closed leaves no caller waiting', async () => {
    const lane = laneOf();
    const running = lane.run(work(heavy));
    const waiting = lane.run(work(heavy));
    const refused = Promise.allSettled([running, waiting]);
    await lane.close();
    expect((await refused).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(lane.run(work('{}'))).rejects.toMatchObject({ code: 'draining' });
  });

  test('forgets who left while the work was done', async () => {
    const lane = laneOf();
    const outgoing = client();
    await lane.run({ ...work('{"model":"A"}'), wantedBy: outgoing });
    outgoing.destroy();
    await once(outgoing, 'close');
    expect(await lane.run(work('{"model":"A"}'))).toHaveProperty('answered.value');
  });
});
