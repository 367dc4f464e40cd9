import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BoundedCaller } from '../../../src/store/bounded-call.ts';
import type { Nap } from '../../support/process/sleeping-thread.ts';

const LONG_MS = 10_000;

function start() {
  const caller = new BoundedCaller<Nap, string>(new URL('../../support/process/sleeping-thread.ts', import.meta.url));
  const answers: string[] = [];
  const ask = (nap: Nap, deadlineMs = LONG_MS) => caller.call(nap, deadlineMs, (answer) => answers.push(answer));
  const glance = (subject: number, ms: number, deadlineMs = LONG_MS) => caller.glance(subject, ms, deadlineMs);
  return { ask, glance, answers };
}

test('a question is answered before the caller goes on', () => {
  const { ask, answers } = start();
  for (const answer of ['one', 'two', 'three']) expect(ask({ ms: 0, answer })).toBe(true);
  expect(answers).toEqual(['one', 'two', 'three']);
});

test('an answer that takes too long is not waited for, and neither is the next while it lasts', () => {
  const { ask, answers } = start();
  ask({ ms: 0, answer: 'started' });
  const startedAt = performance.now();
  expect(ask({ ms: 1_000, answer: 'late' }, 20)).toBe(false);
  for (let turn = 0; turn < 100; turn += 1) expect(ask({ ms: 0, answer: 'not asked' }, 20)).toBe(false);
  expect(performance.now() - startedAt).toBeLessThan(800);
  expect(answers).toEqual(['started']);
});

test('a late answer comes before the next question is asked', async () => {
  const { ask, answers } = start();
  ask({ ms: 0, answer: 'started' });
  expect(ask({ ms: 100, answer: 'late' }, 1)).toBe(false);
  await expect.poll(() => ask({ ms: 0, answer: 'next' }), { timeout: LONG_MS }).toBe(true);
  expect(answers).toEqual(['started', 'late', 'next']);
});

test('a glance says whether there is news, between questions', () => {
  const { ask, glance, answers } = start();
  expect([glance(1, 0), glance(2, 0)]).toEqual(['same', 'news']);
  expect(ask({ ms: 0, answer: 'between' })).toBe(true);
  expect([glance(3, 0), glance(4, 0), answers]).toEqual(['same', 'news', ['between']]);
});

test('a glance that takes too long says nothing, and neither does the next while it lasts', async () => {
  const { ask, glance, answers } = start();
  expect(glance(1, 0)).toBe('same');
  expect(glance(1, 500, 10)).toBeUndefined();
  expect(glance(1, 0)).toBeUndefined();
  await expect.poll(() => ask({ ms: 0, answer: 'next' }), { timeout: LONG_MS }).toBe(true);
  expect([glance(2, 0), answers]).toEqual(['news', ['next']]);
});

test('a thread that dies is replaced, and what it was asked is answered by nobody', async () => {
  const { ask, answers } = start();
  expect(ask({ ms: 0, answer: 'lost', dies: true }, 50)).toBe(false);
  await sleep(0);
  await expect.poll(() => ask({ ms: 0, answer: 'of the next thread' }), { timeout: LONG_MS }).toBe(true);
  expect(answers).toEqual(['of the next thread']);
});
