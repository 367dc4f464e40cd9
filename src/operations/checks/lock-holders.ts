/**
 * Which other processes hold locks of a SQLite file, as Linux tells it. It shows the processes of this container, or of
 * this machine, and nothing elsewhere: an empty answer proves nothing.
 *
 * Source: proc_locks(5); SQLite's file format 3.0 "Locking" (bytes of the file) and walformat.html 2.3.1 (bytes of -shm).
 */
import { readFileSync, statSync } from 'node:fs';

export interface LockHolder {
  readonly pid: number;
  /** Name of the program, such as `python3`; the words it was called with may hold secrets. */
  readonly program: string;
  /** `write`: nobody else can write. `read`: it is reading, and outside of WAL mode no commit can end. */
  readonly holds: 'write' | 'read';
}

const PENDING = 0x4000_0000;
const SHARED_END = PENDING + 512;
/** Bytes of the -shm file. */
const WAL_WRITER = 120;
const WAL_READERS = { from: 123, to: 127 };

/** @returns the other processes with locks, each once, writers first */
export function lockHolders(path: string): readonly LockHolder[] {
  const locks = readText('/proc/locks');
  if (locks === undefined) return [];
  const [file, index] = [path, `${path}-shm`].map((name) => statSync(name, { throwIfNoEntry: false })?.ino);
  const isWal = index !== undefined;
  const found = new Map<number, LockHolder>();
  for (const line of locks.split('\n')) {
    const lock = parseLock(line);
    if (lock === undefined || lock.pid === process.pid) continue;
    const holds = lock.inode === index ? inIndex(lock) : lock.inode === file ? inFile(lock, isWal) : undefined;
    if (holds === undefined || found.get(lock.pid)?.holds === 'write') continue;
    found.set(lock.pid, { pid: lock.pid, program: programOf(lock.pid), holds });
  }
  return [...found.values()].toSorted((left, right) => right.holds.localeCompare(left.holds));
}

interface Lock {
  readonly pid: number;
  readonly inode: number;
  readonly exclusive: boolean;
  readonly from: number;
  readonly to: number;
}

/** `1: POSIX  ADVISORY  WRITE 4242 08:01:1835017 1073741825 1073741825`; one that waits has `->` behind the number. */
function parseLock(line: string): Lock | undefined {
  const [, kind, pid, inode, from, to] =
    /^\d+: (?:POSIX|OFDLCK) +\w+ +(READ|WRITE) +(\d+) \w+:\w+:(\d+) (\d+) (\d+|EOF)$/.exec(line) ?? [];
  if (kind === undefined) return undefined;
  return {
    pid: Number(pid),
    inode: Number(inode),
    exclusive: kind === 'WRITE',
    from: Number(from),
    to: to === 'EOF' ? Number.POSITIVE_INFINITY : Number(to),
  };
}

/** In WAL mode every open connection holds a shared lock of the file, which hinders nobody. */
function inFile({ exclusive, from, to }: Lock, isWal: boolean): LockHolder['holds'] | undefined {
  if (to < PENDING || from > SHARED_END) return undefined;
  return exclusive ? 'write' : isWal ? undefined : 'read';
}

function inIndex({ exclusive, from, to }: Lock): LockHolder['holds'] | undefined {
  const covers = (byte: number): boolean => from <= byte && byte <= to;
  if (exclusive && covers(WAL_WRITER)) return 'write';
  return from <= WAL_READERS.to && to >= WAL_READERS.from ? 'read' : undefined;
}

function programOf(pid: number): string {
  return readText(`/proc/${pid}/comm`)?.trim() ?? 'unknown program';
}

/** Linux counts in hundredths of a second for programs, on every machine. */
const TICKS_PER_SECOND = 100;

/** @returns since when a process runs, and as whom; undefined where that cannot be seen. Source: proc_pid_stat(5), field 22 */
export function processFacts(pid: number): { readonly startedMsAgo: number; readonly user: number } | undefined {
  const [stat, uptime] = [readText(`/proc/${pid}/stat`), readText('/proc/uptime')];
  const user = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
  // the name, in parentheses, may hold spaces and parentheses itself
  const started = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / TICKS_PER_SECOND;
  const startedMsAgo = (Number.parseFloat(uptime ?? '') - started) * 1_000;
  return user === undefined || Number.isNaN(startedMsAgo) ? undefined : { startedMsAgo, user };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // no Linux, or a process that has just ended
  }
}
