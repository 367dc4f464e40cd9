import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BoundedCaller } from '../../../src/store/bounded-call.ts';
import type { Nap } from '../../support/process/sleeping-thread.ts';

const LONG_MS = 10_000;

function start() {
  const caller = new BoundedCaller<Nap, string>(new URL('../../support/process/sleeping-thread.ts', import.meta.url));
  const answers: string[] = [];
  const ask = (nap: Nap, deadlineMs = LONG_MS, queues = false) =>
    caller.ask(nap, deadlineMs, (answer) => answers.push(answer), queues);
  return { ask, answers, isAnswering: () => caller.isAnswering };
}

test('questions are answered in their order, each before its caller goes on', async () => {
  const { ask, answers } = start();
  const asked = ['one', 'two', 'three'].map(async (answer) => {
    expect(await ask({ ms: 0, answer })).toBe(true);
    expect(answers).toContain(answer);
  });
  await Promise.all(asked);
  expect(answers).toEqual(['one', 'two', 'three']);
});

test('the event loop goes on while the thread is busy', async () => {
  const { ask, answers } = start();
  await ask({ ms: 0, answer: 'started' });
  const asked = ask({ ms: 1_500, answer: 'late' });
  await sleep(1);
  expect(answers).toEqual(['started']);
  expect(await asked).toBe(true);
});

test('an answer that takes too long is not waited for, and while it lasts nothing is asked', async () => {
  const { ask, answers, isAnswering } = start();
  await ask({ ms: 0, answer: 'started' });
  const startedAt = performance.now();
  expect(await ask({ ms: 4_000, answer: 'late' }, 20)).toBe(false);
  expect(isAnswering()).toBe(false);
  for (let turn = 0; turn < 100; turn += 1) expect(await ask({ ms: 0, answer: 'not asked' }, 20)).toBe(false);
  expect(performance.now() - startedAt).toBeLessThan(3_500);
  expect(answers).toEqual(['started']);
});

test('a deadline that has passed is found missed, though timers fire a little early', async () => {
  const { ask, answers, isAnswering } = start();
  await ask({ ms: 0, answer: 'started' });
  for (let turn = 0; turn < 50; turn += 1) {
    const { length: before } = answers;
    if (await ask({ ms: 20, answer: 'late' }, 5)) continue;
    // on a busy machine the answer may come at this very moment
    expect(isAnswering()).toBe(answers.length > before);
    await expect.poll(isAnswering, { interval: 1, timeout: LONG_MS }).toBe(true);
  }
});

test('an answer that came in time is taken, however late this thread looks for it', async () => {
  const { ask, answers, isAnswering } = start();
  await ask({ ms: 0, answer: 'started' });
  const done = new Int32Array(new SharedArrayBuffer(4));
  const asked = ask({ ms: 0, answer: 'in time', done }, 50);
  Atomics.wait(done, 0, 0, LONG_MS);
  for (const end = performance.now() + 200; performance.now() < end;);
  expect(isAnswering()).toBe(true);
  expect(await asked).toBe(true);
  expect(answers).toEqual(['started', 'in time']);
});

test('a late answer comes before that of the next question', async () => {
  const { ask, answers } = start();
  await ask({ ms: 0, answer: 'started' });
  expect(await ask({ ms: 1_000, answer: 'late' }, 1)).toBe(false);
  await expect.poll(() => ask({ ms: 0, answer: 'next' }), { timeout: LONG_MS }).toBe(true);
  expect(answers).toEqual(['started', 'late', 'next']);
});

test('what queues is asked behind a late question', async () => {
  const { ask, answers } = start();
  await ask({ ms: 0, answer: 'started' });
  await ask({ ms: 300, answer: 'late' }, 1);
  expect(await ask({ ms: 0, answer: 'queued' }, LONG_MS, true)).toBe(true);
  expect(answers).toEqual(['started', 'late', 'queued']);
});

test('a thread that dies is replaced, and what it was asked stays without an answer', async () => {
  const { ask, answers } = start();
  expect(await ask({ ms: 0, answer: 'lost', dies: true }, 50)).toBe(false);
  await expect.poll(() => ask({ ms: 0, answer: 'of the next thread' }), { timeout: LONG_MS }).toBe(true);
  expect(answers).toEqual(['of the next thread']);
});
