/** Which processes have a file open or locked, as far as this process may see. Only Linux shows it: elsewhere none is found. */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { failureCode } from '../store/database.ts';

/** Undefined where that is no Linux, or a process or descriptor has gone between two looks. */
function look<T>(at: () => T): T | undefined {
  try {
    return at();
  } catch {
    return undefined;
  }
}

const readText = (path: string): string | undefined => look(() => readFileSync(path, 'utf8'));

/** @returns the other processes that have one of the files open, and why some may be missing, where they may */
export function findHolders(paths: readonly string[]) {
  const wanted = new Set(paths.flatMap(identityOf));
  const numbers = (look(() => readdirSync('/proc')) ?? []).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const seen = numbers.filter((pid) => pid !== process.pid).map((pid) => ({ pid, open: filesOf(pid) }));
  const holders = seen.filter(({ open }) => open?.some((identity) => wanted.has(identity)) === true);
  return {
    holders: holders.map(({ pid }) => ({ pid, command: commandOf(pid) })),
    blind: blindness(seen.filter(({ open }) => open === undefined).length),
  };
}

function filesOf(pid: number): readonly string[] | undefined {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap((descriptor) => identityOf(`${folder}/${descriptor}`));
  } catch (error) {
    return /^(?:EACCES|EPERM)$/.test(failureCode(error)) ? undefined : [];
  }
}

/** A descriptor that may not be looked at alone is none of the backend's, which is one process. */
function identityOf(path: string): readonly string[] {
  const stats = look(() => statSync(path, { bigint: true }));
  return stats?.isFile() === true ? [`${stats.dev}:${stats.ino}`] : [];
}

/** The first words that it was started with, such as `python3 -m uvicorn`; later ones may hold secrets. */
function commandOf(pid: number): string {
  const words = readText(`/proc/${pid}/cmdline`)?.split('\0').filter(Boolean) ?? [];
  return words.slice(0, 3).join(' ') || (readText(`/proc/${pid}/comm`)?.trim() ?? 'unknown');
}

/** Of the kernel: the first PID namespace of a machine has this number, those of containers have others. */
const NAMESPACE_OF_THE_MACHINE = 'pid:[4026531836]';

function blindness(hidden: number): string | undefined {
  const namespace = processNamespace();
  if (namespace === '') return 'this system does not tell which process has a file open';
  const isContainer = namespace !== NAMESPACE_OF_THE_MACHINE;
  if (isContainer) return 'this runs in a container, where processes of others cannot be seen';
  return hidden > 0 ? `${hidden} processes of other users could not be looked at` : undefined;
}

/** @returns the name of the PID namespace, empty where the system has none */
export const processNamespace = (): string => look(() => readlinkSync('/proc/self/ns/pid')) ?? '';

/** `1: POSIX  ADVISORY  WRITE 4242 08:01:1835017 1073741825 1073741825`; one that waits has `->` behind the number. */
const LOCK = /^\d+: (?:POSIX|OFDLCK) +\w+ +(READ|WRITE) +(\d+) \w+:\w+:(\d+) (\d+) (\d+|EOF)$/gm;

/** Bytes of the file (SQLite's lockingv3.html), and of -shm (walformat.html 2.3.1), that locks are taken on. */
const PENDING_TO_SHARED = [0x4000_0000, 0x4000_0000 + 512] as const;
const WAL_WRITER = [120, 120] as const;
const WAL_READERS = [123, 127] as const;

export type LockHolder = ReturnType<typeof lockHolders>[number];

/**
 * @returns the other processes of this container with locks of a SQLite file, writers first: none proves nothing
 *   (proc_locks(5)). `write`: no other process can write. `read`: it is reading, and outside of WAL mode no commit can end.
 */
export function lockHolders(path: string) {
  const [file, index] = [path, `${path}-shm`].map((name) => statSync(name, { throwIfNoEntry: false })?.ino);
  const locks = [...(readText('/proc/locks')?.matchAll(LOCK) ?? [])].flatMap(([, kind, owner, inode, start, end]) => {
    const [pid, isExclusive] = [Number(owner), kind === 'WRITE'];
    const touches = ([first, last]: readonly [number, number]): boolean =>
      Number(start) <= last && (end === 'EOF' || Number(end) >= first);
    let holds: 'write' | 'read' | undefined;
    if (Number(inode) === index) {
      holds = isExclusive && touches(WAL_WRITER) ? 'write' : touches(WAL_READERS) ? 'read' : undefined;
    } else if (Number(inode) === file && touches(PENDING_TO_SHARED)) {
      // in WAL mode every open connection holds a shared lock of the file, which hinders no other
      holds = isExclusive ? 'write' : index === undefined ? 'read' : undefined;
    }
    return holds === undefined || pid === process.pid ? [] : [{ pid, holds }];
  });
  const writers = new Set(locks.flatMap(({ pid, holds }) => (holds === 'write' ? [pid] : [])));
  const readers = new Set(locks.map(({ pid }) => pid).filter((pid) => !writers.has(pid)));
  // the name of the program alone, such as `python3`; the words it was called with may hold secrets
  const nameOf = (pid: number): string => readText(`/proc/${pid}/comm`)?.trim() ?? 'unknown program';
  return [...writers, ...readers].map((pid) => {
    return { pid, program: nameOf(pid), holds: writers.has(pid) ? ('write' as const) : ('read' as const) };
  });
}

/** @returns how long a process has run, and as whom; undefined where that cannot be seen. Source: proc_pid_stat(5), field 22 */
export function processFacts(pid: number): { readonly startedMsAgo: number; readonly user: number } | undefined {
  const [stat, uptime] = [readText(`/proc/${pid}/stat`), readText('/proc/uptime')];
  const user = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
  // hundredths of a second, on every machine; the name, in parentheses, may hold spaces and parentheses itself
  const started = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / 100;
  const startedMsAgo = (Number.parseFloat(uptime ?? '') - started) * 1_000;
  return user === undefined || Number.isNaN(startedMsAgo) ? undefined : { startedMsAgo, user };
}
