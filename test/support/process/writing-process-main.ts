/** The other end of `writing-process.ts`. */
import Database from 'better-sqlite3';
import type { Written } from './writing-process.ts';

const connection = new Database(process.argv[2], { timeout: 5_000 });
connection.pragma('synchronous = off');
for (const table of ['scribble_left', 'scribble_right']) {
  connection.exec(`CREATE TABLE IF NOT EXISTS ${table} (n INTEGER NOT NULL, text TEXT NOT NULL)`);
}
const first = Number(connection.prepare('SELECT coalesce(max(n), 0) FROM scribble_left').pluck().get());
const left = connection.prepare('INSERT INTO scribble_left VALUES (?, ?)');
const right = connection.prepare('INSERT INTO scribble_right VALUES (?, ?)');
const write = connection.transaction((n: number) => {
  left.run(n, 'x'.repeat(500));
  right.run(n, 'x'.repeat(500));
});

let commits = 0;
let longestMs = 0;
let last = performance.now();
const failures: string[] = [];
const report = (): Written => ({ commits, longestMs, failures });

function step(): void {
  try {
    write.immediate(first + commits + 1);
    commits += 1;
  } catch (error) {
    failures.push(String(error));
  }
  const now = performance.now();
  longestMs = Math.max(longestMs, now - last);
  last = now;
  if (commits % 50 === 1) process.send?.(report());
}

// as a busy backend: without a pause, no other process would get the lock outside of WAL mode, and that is no backend
const timer = setInterval(step, 2);
process.once('message', () => {
  clearInterval(timer);
  connection.close();
  process.send?.(report(), () => process.disconnect?.());
});
