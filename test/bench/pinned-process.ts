/** Processes on a core of their own: what is measured on one, everything that measures on the other. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** The core of the gate, or of what stands in its place, and the core of backend and clients. */
export const MEASURED_CORE = 0;
export const MEASURING_CORE = 1;
const isPinning = availableParallelism() > 1;

export interface PinnedProcess extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** Processor time since the start of the process, all threads, in seconds; in steps of 10 ms. */
  cpuSeconds(): number;
  rssBytes(): number;
  stop(): Promise<void>;
}

export interface Command {
  readonly program: string;
  readonly words: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly core: number;
  /** Answers once the process is ready. */
  readonly probe: string;
  readonly url: string;
}

/** The same command on this core. */
export function pinned(core: number, [program, ...words]: readonly [string, ...string[]]): [string, ...string[]] {
  return isPinning ? ['taskset', '-c', String(core), program, ...words] : [program, ...words];
}

/** Moves this process, which drives clients, to the measuring core. */
export function pinThisProcess(): void {
  pinProcess(process.pid, MEASURING_CORE);
}

/** Moves a process, and with it those that it will start. */
export function pinProcess(pid: number, core: number): void {
  if (isPinning) spawnSync('taskset', ['-acp', String(core), String(pid)]);
}

/** @throws Error where the process ends or is not ready within ten seconds */
export async function startPinned(command: Command): Promise<PinnedProcess> {
  const [program, ...words] = pinned(command.core, [command.program, ...command.words]);
  const child = spawn(program, words, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env['PATH'], ...command.environment },
  });
  const { pid = 0 } = child;
  const started: PinnedProcess = {
    url: command.url,
    pid,
    cpuSeconds: () => cpuSecondsOf(pid),
    rssBytes: () => rssBytesOf(pid),
    stop: () => stop(child),
    [Symbol.asyncDispose]: () => stop(child),
  };
  try {
    await untilAnswering(child, command);
    return started;
  } catch (error) {
    await stop(child);
    throw error;
  }
}

async function untilAnswering(child: ChildProcess, { probe, words }: Command): Promise<void> {
  const name = words.join(' ');
  for (const end = Date.now() + 10_000; Date.now() < end; await pause(5)) {
    if (child.exitCode !== null) throw new Error(`it ended at once with ${child.exitCode}: ${name}`);
    const answer = await fetch(probe).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok === true) return;
  }
  throw new Error(`it is not ready: ${name}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(killer);
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** proc(5): fields 14 and 15 of `stat`, counted behind the name, in ticks of a hundredth of a second. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function rssBytesOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}
