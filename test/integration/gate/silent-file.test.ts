/**
 * A file system that does not answer: a read of the file takes seconds, or does not come back at all. SQLite's own
 * patience is long too: in WAL mode it waits ten seconds for locks that fail. Only what needs the file may wait.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, renameSync, rmSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { DEADLINE_MS } from '../../../src/store/threaded-file.ts';
import { type TestGate, startTestGate } from '../../support/gate/gate.ts';

const chat = { model: 'A', stream: false, messages: [{ role: 'user', content: 'Who?' }] };
let awaken: (() => void) | undefined;
afterEach(() => awaken?.());

/** Puts a pipe in the place of the file: opening it for reading does not return before a process writes. */
function silence({ database: { path } }: TestGate): void {
  const away = `${path}.away`;
  renameSync(path, away);
  execFileSync('mkfifo', [path]);
  awaken = () => {
    awaken = undefined;
    // read and write, which never waits: the reader that waits comes back
    const pipe = openSync(path, constants.O_RDWR);
    rmSync(path);
    renameSync(away, path);
    closeSync(pipe);
  };
}

test('a file that does not answer delays no request, and is read again when it does', async () => {
  await using gate = await startTestGate({ MODELGATE_POLICY_MAX_STALE: '1s' }, '0.12.4', { deadlineMs: DEADLINE_MS });
  expect((await gate.ask('ann', '/api/chat/completions', chat)).status).toBe(200);
  silence(gate);

  let longest = 0;
  let last = performance.now();
  const pulse = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  const answers = Array.from({ length: 20 }, () => gate.ask('ann', '/api/chat/completions', chat));
  expect((await gate.ask('ann', '/static/loader.js')).status).toBe(404);
  expect((await gate.ask('ann', '/api/config')).status).toBe(200);
  for (const answer of await Promise.all(answers)) expect([200, 503]).toContain(answer.status);
  clearInterval(pulse);
  expect(longest).toBeLessThan(5_000);

  await expect.poll(async () => (await gate.ask('ann', '/api/models')).status, { timeout: 10_000 }).toBe(503);
  awaken?.();
  await expect.poll(async () => (await gate.ask('ann', '/api/models')).status, { timeout: 10_000 }).toBe(200);
});
