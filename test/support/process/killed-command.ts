/**
 * Commands that are killed (kill -9) at random points, while a second process writes into the database all the time.
 * What stands there afterwards must be what stood there before, or what the command would have made: whole, and with
 * every transaction of the writing process.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { expect } from 'vitest';
import type { TestDatabase } from '../database/database.ts';
import { runCommand } from './command.ts';
import { withTimeout } from './with-timeout.ts';
import { startWriting, wholeCommits } from './writing-process.ts';

export interface KilledCommand {
  /** Makes a database; its connection is closed before the command starts. */
  readonly prepare: () => TestDatabase;
  /** Of a command that changes something, or works on the whole file. */
  readonly words: (database: TestDatabase) => readonly string[];
  /** What is the same before and after for everything that the command leaves alone; times must be left out. */
  readonly state: (sql: Database.Database) => unknown;
  /** False where the command refuses while another process has the file open. */
  readonly whileWritten?: boolean;
  /** Looks at what else lies in the folder; fails where something has a good name and is not good. */
  readonly look?: (database: TestDatabase) => void;
}

/** Each kill costs about a second. More of them: `GATE_TEST_KILLS=50 npm run test:killed`. */
export const KILLS = Number(process.env['GATE_TEST_KILLS'] ?? 3);

/** @returns how often the database was found as before, and how often as after */
export async function killAtRandom(command: KilledCommand, kills = KILLS): Promise<{ before: number; after: number }> {
  // the first run of a command in this process spends its time on reading TypeScript
  await unhindered(command);
  const { before, after, elapsedMs } = await unhindered(command);
  const found = { before: 0, after: 0 };
  for (let kill = 0; kill < kills; kill++) {
    const delayMs = Math.random() * elapsedMs * 1.2;
    const state = await killOnce(command, delayMs);
    const [isBefore, isAfter] = [before, after].map((expected) => JSON.stringify(state) === JSON.stringify(expected));
    expect(isBefore || isAfter, `after a kill at ${delayMs} ms of ${elapsedMs} ms: ${JSON.stringify(state)}`).toBe(
      true,
    );
    found[isAfter ? 'after' : 'before'] += 1;
  }
  return found;
}

interface Unhindered {
  readonly before: unknown;
  readonly after: unknown;
  readonly elapsedMs: number;
}

/** The same command, left alone: what it makes, and how long it takes without the start of a process. */
async function unhindered({ prepare, words, state }: KilledCommand): Promise<Unhindered> {
  using database = prepare();
  const before = state(database.sql);
  database.sql.close();
  const started = performance.now();
  const { code, stderr } = await runCommand(words(database));
  const elapsedMs = performance.now() - started;
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return { before, after: read(database.path, state), elapsedMs };
}

async function killOnce(command: KilledCommand, delayMs: number): Promise<unknown> {
  using database = command.prepare();
  const words = command.words(database);
  database.sql.close();
  const { child, ended } = await startLoaded(words);
  const writer = command.whileWritten === false ? undefined : await startWriting(database.path);
  child.send(words);
  await new Promise((resolve) => setTimeout(resolve, delayMs));
  child.kill('SIGKILL');
  await withTimeout(ended, 10_000, 'end of the killed command');
  const written = await writer?.stop();
  const state = read(database.path, (sql) => {
    // a commit that was told is never lost, and none is there by half
    if (written !== undefined) expect(wholeCommits(sql)).toBe(written.commits);
    return command.state(sql);
  });
  expect(written?.failures ?? []).toEqual([]);
  command.look?.(database);
  return state;
}

/** Where the executable itself keeps what it has read: half of a start is reading TypeScript. */
const COMPILE_CACHE = fileURLToPath(new URL('../../../node_modules/.cache/modelgate', import.meta.url));

/** A process that has loaded the command, and waits for the word to run it. */
async function startLoaded(words: readonly string[]): Promise<{ child: ChildProcess; ended: Promise<unknown> }> {
  const main = fileURLToPath(new URL('./killed-command-main.ts', import.meta.url));
  const child = fork(main, words.slice(0, 1), {
    execArgv: [],
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'exit');
  const early = ended.then(() => {
    throw new Error(`the command that is to be killed ended before it began: ${stderr}`);
  });
  early.catch(() => undefined);
  await withTimeout(Promise.race([once(child, 'message'), early]), 20_000, 'start of the command that is killed');
  return { child, ended };
}

/** As the next process that opens the file, which may have to roll something back. */
function read<T>(path: string, look: (sql: Database.Database) => T): T {
  const sql = new Database(path, { timeout: 10_000, fileMustExist: true });
  try {
    expect(sql.pragma('integrity_check', { simple: true })).toBe('ok');
    return look(sql);
  } finally {
    sql.close();
  }
}
