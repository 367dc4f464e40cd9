/** Which processes have a file open or locked, as far as this process may see. Only Linux shows it: elsewhere none is found. */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { failureCode } from '../store/database.ts';

interface FileHolder {
  readonly pid: number;
  /** The first words that it was started with; later ones may hold secrets. */
  readonly command: string;
}

/** @returns the other processes that have one of the files open, and why some may be missing, where they may */
export function findHolders(paths: readonly string[]) {
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

function processNumbers(): number[] {
  try {
    const numbers = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
    return numbers.map(Number).filter((pid) => pid !== process.pid);
  } catch {
    return []; // no such folder: `blindness` says so
  }
}

/** A process or a descriptor may be gone between two looks. */
function filesOf(pid: number): readonly string[] | 'hidden' {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).flatMap((descriptor) => identityOf(`${folder}/${descriptor}`));
  } catch (error) {
    return /^(?:EACCES|EPERM)$/.test(failureCode(error)) ? 'hidden' : [];
  }
}

function identityOf(path: string): readonly string[] {
  try {
    const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
    return stats?.isFile() === true ? [`${stats.dev}:${stats.ino}`] : [];
  } catch {
    return []; // a descriptor that may not be looked at alone is none of the backend's, which is one process
  }
}

/** `python3 -m uvicorn`, `node src/main.ts serve` */
const SHOWN_WORDS = 3;

function commandOf(pid: number): string {
  const words = readText(`/proc/${pid}/cmdline`)?.split('\0').filter(Boolean) ?? [];
  return words.slice(0, SHOWN_WORDS).join(' ') || (readText(`/proc/${pid}/comm`)?.trim() ?? 'unknown');
}

/** Of the kernel: the first PID namespace of a machine has this number, those of containers have others. */
const NAMESPACE_OF_THE_MACHINE = 'pid:[4026531836]';

/** @param hidden processes that this user may not look at */
function blindness(hidden: number): string | undefined {
  const namespace = processNamespace();
  if (namespace === '') return 'this system does not tell which process has a file open';
  if (namespace !== NAMESPACE_OF_THE_MACHINE) {
    return 'this runs in a container, where processes of others cannot be seen';
  }
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

export interface LockHolder {
  readonly pid: number;
  /** Name of the program, such as `python3`; the words it was called with may hold secrets. */
  readonly program: string;
  /** `write`: no other process can write. `read`: it is reading, and outside of WAL mode no commit can end. */
  readonly holds: 'write' | 'read';
}

/** Bytes of the file (SQLite's lockingv3.html), and of -shm (walformat.html 2.3.1), that locks are taken on. */
const PENDING = 0x4000_0000;
const SHARED_END = PENDING + 512;
const WAL_WRITER = 120;
const WAL_READERS = { from: 123, to: 127 };

/**
 * Reads `/proc/locks` (proc_locks(5)), which shows the processes of this container or machine: an empty answer proves
 * nothing.
 * @returns the other processes with locks of a SQLite file, each once, writers first
 */
export function lockHolders(path: string): readonly LockHolder[] {
  const locks = readText('/proc/locks');
  if (locks === undefined) return [];
  const file = statSync(path, { throwIfNoEntry: false })?.ino;
  const index = statSync(`${path}-shm`, { throwIfNoEntry: false })?.ino;
  const isWal = index !== undefined;
  const found = new Map<number, LockHolder>();
  for (const line of locks.split('\n')) {
    const lock = parseLock(line);
    if (lock === undefined || lock.pid === process.pid) continue;
    const holds = lock.inode === index ? inIndex(lock) : lock.inode === file ? inFile(lock, isWal) : undefined;
    if (holds === undefined || found.get(lock.pid)?.holds === 'write') continue;
    const program = readText(`/proc/${lock.pid}/comm`)?.trim() ?? 'unknown program';
    found.set(lock.pid, { pid: lock.pid, program, holds });
  }
  return [...found.values()].toSorted((left, right) => right.holds.localeCompare(left.holds));
}

type Lock = Exclude<ReturnType<typeof parseLock>, undefined>;

/** `1: POSIX  ADVISORY  WRITE 4242 08:01:1835017 1073741825 1073741825`; one that waits has `->` behind the number. */
function parseLock(line: string) {
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

/** In WAL mode every open connection holds a shared lock of the file, which hinders no other. */
function inFile({ exclusive, from, to }: Lock, isWal: boolean): LockHolder['holds'] | undefined {
  if (to < PENDING || from > SHARED_END) return undefined;
  return exclusive ? 'write' : isWal ? undefined : 'read';
}

function inIndex({ exclusive, from, to }: Lock): LockHolder['holds'] | undefined {
  if (exclusive && from <= WAL_WRITER && WAL_WRITER <= to) return 'write';
  return from <= WAL_READERS.to && to >= WAL_READERS.from ? 'read' : undefined;
}

/** Linux reports hundredths of a second to programs, on every machine. */
const TICKS_PER_SECOND = 100;

/** @returns how long a process has run, and as whom; undefined where that cannot be seen. Source: proc_pid_stat(5), field 22 */
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
