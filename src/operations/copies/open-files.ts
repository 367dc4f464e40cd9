/** Which processes have a file open, as far as this process may see. Linux alone tells; elsewhere nobody is found. */
import type { BigIntStats } from 'node:fs';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { failureCode } from '../../store/database.ts';
import { processNamespace } from './partial-file.ts';

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
