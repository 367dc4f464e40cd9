/**
 * A second process that writes into a SQLite file all the time, as a backend with many users does. Each of its
 * transactions writes the same number into two tables: a copy that holds one without the other is torn.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type Database from 'better-sqlite3';
import { withTimeout } from './with-timeout.ts';

export interface Written {
  readonly commits: number;
  /** Longest time between two commits, in milliseconds: what the lock of another process has cost. */
  readonly longestMs: number;
  /** SQLite's words where a transaction failed after 5 s, as in the backend. */
  readonly failures: readonly string[];
}

export interface WritingProcess extends AsyncDisposable {
  /** Numbers committed so far, as last told. */
  commits(): number;
  /** Ends it; the last transaction is committed. */
  stop(): Promise<Written>;
}

/** Starts it, and waits for its first commit. The tables are made where they are missing. */
export async function startWriting(path: string): Promise<WritingProcess> {
  const child = fork(fileURLToPath(new URL('./writing-process-main.ts', import.meta.url)), [path], { execArgv: [] });
  let written: Written = { commits: 0, longestMs: 0, failures: [] };
  child.on('message', (message) => (written = message as Written));
  // `exit` may come before the last message has been read
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]);
  await withTimeout(Promise.race([once(child, 'message'), ended]), 15_000, 'first commit of the writing process');
  const stop = async () => {
    if (child.exitCode === null && child.connected) child.send('stop');
    await withTimeout(ended, 15_000, 'end of the writing process');
    return written;
  };
  return {
    commits: () => written.commits,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

/** @returns how many transactions of the writing process a file holds; throws where one is there by half */
export function wholeCommits(connection: Database.Database): number {
  const [left, right] = ['scribble_left', 'scribble_right'].map(
    (table) => connection.prepare(`SELECT count(*) AS count, max(n) AS last FROM ${table}`).get() as { count: number },
  );
  if (JSON.stringify(left) !== JSON.stringify(right)) {
    throw new Error(`a torn copy: ${JSON.stringify(left)} and ${JSON.stringify(right)}`);
  }
  return left!.count;
}
