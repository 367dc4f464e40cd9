/** Which processes have a file open, as far as this process may see. Linux alone tells; elsewhere nobody is found. */
import type { BigIntStats } from 'node:fs';
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { failureCode } from '../store/database.ts';

export interface FileHolder {
  readonly pid: number;
  /** The first words that it was started with; later ones may hold secrets. */
  readonly command: string;
}

export interface FileHolders {
  readonly holders: readonly FileHolder[];
  /** Why processes may be missing, or undefined where all of this machine were looked at. */
  readonly blind: string | undefined;
}

/** @returns the processes that have one of the files open, this one left out */
export function findHolders(paths: readonly string[]): FileHolders {
  const wanted = new Set(paths.flatMap(identityOf));
  const holders: FileHolder[] = [];
  let hidden = 0;
  for (const pid of processNumbers()) {
    const open = filesOf(pid);
    if (open === 'hidden') hidden += 1;
    else if (open.some((identity) => wanted.has(identity))) holders.push({ pid, command: commandOf(pid) });
  }
  return { holders, blind: blindness(hidden) };
}

const PROC = '/proc';

function processNumbers(): number[] {
  try {
    return readdirSync(PROC)
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number)
      .filter((pid) => pid !== process.pid);
  } catch {
    return []; // no such folder: `blindness` says so
  }
}

/** A process or a descriptor may be gone between two looks. */
function filesOf(pid: number): readonly string[] | 'hidden' {
  try {
    const folder = `${PROC}/${pid}/fd`;
    return readdirSync(folder).flatMap((descriptor) => identityOf(`${folder}/${descriptor}`));
  } catch (error) {
    return /^(?:EACCES|EPERM)$/.test(failureCode(error)) ? 'hidden' : [];
  }
}

function identityOf(path: string): readonly string[] {
  try {
    const stats: BigIntStats | undefined = statSync(path, { bigint: true, throwIfNoEntry: false });
    return stats?.isFile() === true ? [`${stats.dev}:${stats.ino}`] : [];
  } catch {
    return []; // a descriptor that may not be looked at alone is none of the backend's, which is one process
  }
}

/** `python3 -m uvicorn`, `node src/main.ts serve` */
const SHOWN_WORDS = 3;

function commandOf(pid: number): string {
  try {
    const words = readFileSync(`${PROC}/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
    return words.length > 0
      ? words.slice(0, SHOWN_WORDS).join(' ')
      : readFileSync(`${PROC}/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'unknown';
  }
}

/** Of the kernel: the first PID namespace of a machine has this number, those of containers have others. */
const NAMESPACE_OF_THE_MACHINE = 'pid:[4026531836]';

/** @param hidden processes that this user may not look at */
function blindness(hidden: number): string | undefined {
  const namespace = processNamespace();
  if (namespace === '') return 'this system does not tell which process has a file open';
  if (namespace !== NAMESPACE_OF_THE_MACHINE)
    return 'this runs in a container, where processes of others cannot be seen';
  return hidden > 0 ? `${hidden} processes of other users could not be looked at` : undefined;
}

/** @returns the name of the PID namespace, empty where the system has none */
export function processNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return ''; // not Linux, or no /proc
  }
}

// Which other processes hold locks of a SQLite file, as Linux tells it. It shows the processes of this container, or
// of this machine, and nothing elsewhere: an empty answer proves nothing. Source: proc_locks(5); SQLite's file format
// 3.0 "Locking" (bytes of the file) and walformat.html 2.3.1 (bytes of -shm).

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
