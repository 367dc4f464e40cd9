/**
 * How many instructions a process executes meanwhile, by `perf`: on a busy machine the only figure that stays the same
 * from run to run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { pause, type PinnedProcess } from './pinned-process.ts';

/** Until `perf` has attached itself. */
const ATTACHING_MS = 500;

/** @returns undefined where there is no `perf`, or the machine has no counters for it */
export async function countInstructions(
  target: PinnedProcess,
  work: () => Promise<unknown>,
): Promise<number | undefined> {
  const perf = spawn('perf', ['stat', '-x,', '-e', 'instructions', '-p', String(target.pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(perf, 'close').catch(() => undefined);
  const said = text(perf.stderr);
  await pause(ATTACHING_MS);
  await work();
  perf.kill('SIGINT');
  await ended;
  const count = Number((await said).split(',', 1)[0]);
  return count > 0 ? count : undefined;
}
