/** The file as the system sees it: whose it is, who may read it, and whether SQLite can make its journals beside it. */
import {
  type Stats,
  accessSync,
  closeSync,
  constants,
  mkdtempDisposableSync,
  openSync,
  readdirSync,
  statSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { getegid, getgroups, getuid } from 'node:process';
import { explainFailure } from '../backend-file/failure.ts';
import { asSize, shellCommand } from '../backend-file/text.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { readIntegrity } from '../upkeep/verified-copy.ts';
import { copyLive } from '../upkeep/copy.ts';
import { COMPANIONS } from '../upkeep/files.ts';
import { type Finding, type Verdict, complaintOf, findingsOf, ok, problem, unknown, warning } from './finding.ts';

/** The guide has mode 600. Two containers with two users share the file by its group, which is meant; all others are not. */
const GROUP_MAY = 0o070;
const OTHERS_MAY = 0o007;

/** To be called before SQLite has the file open: closing a descriptor of it would give up SQLite's locks (fcntl(2)). */
export function checkDatabaseFile(path: string): readonly Finding[] {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    const file = problem(
      `There is no file at ${path}, so nothing about it was checked.`,
      'Name the webui.db of the backend with --database or DATABASE_URL; a backend that has never run must be started once.',
    );
    return findingsOf({ file });
  }
  const { uid, size, mode } = stats;
  const about = `${path} (${asSize(size)}, mode ${octal(mode)}, owner ${uid === 0 ? 'root' : uid})`;
  const asOwner = `Run the gate as user ${uid}, the owner of the file.`;
  // tried, because a read-only volume is not seen in any mode
  const may = (how: 'r' | 'r+'): boolean => succeeds(() => closeSync(openSync(path, how)));
  if (!may('r')) return findingsOf({ file: problem(`User ${runner()} may not read ${about}.`, asOwner) });
  const finding = `User ${runner()} may not write ${about}: no user can be enrolled, and no command can change anything.`;
  return findingsOf({
    file: may('r+')
      ? ok(`${about} can be read and written by user ${runner()}, who runs this command.`)
      : warning(finding, asOwner),
    permissions: checkModes(path, stats),
    folder: checkFolder(dirname(path), asOwner),
    backups: checkBackups(path, stats),
    'file system': checkFileSystem(path, statfsSync(path).type),
  });
}

const succeeds = (act: () => unknown): boolean => complaintOf(act) === '';

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(3, '0');

const modeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mode ?? 0;

const runner = (): string => (getuid?.() === 0 ? '0 (root)' : String(getuid?.() ?? 'unknown'));

function checkModes(path: string, { uid, gid, mode }: Stats): Verdict {
  const names = ['', ...COMPANIONS].map((suffix) => `${path}${suffix}`);
  const tooOpen = names.filter((name) => (modeOf(name) & OTHERS_MAY) !== 0);
  if (tooOpen.length > 0) {
    const modes = tooOpen.map((name) => `${basename(name)} ${octal(modeOf(name))}`).join(', ');
    const mayWrite = (mode & 0o060) === 0o060 ? `user ${uid} or in group ${gid}` : `user ${uid}`;
    return warning(
      `Every user may open the file, which holds passwords, keys and chats (${modes}).`,
      `Let the gate run as ${mayWrite}, and no other user open it: \`${shellCommand('chmod', 'o=', ...tooOpen)}\``,
    );
  }
  if ((mode & GROUP_MAY) === 0) return ok(`Only user ${uid} may open the file.`);
  const isMember = getegid?.() === gid || getgroups?.().includes(gid) === true;
  const meant = ` (mode ${octal(mode)}). Right if the gate shares that group, as in docker-compose.yml; otherwise give it mode 600.`;
  return ok(`Only user ${uid} and group ${gid} may open the file${uid !== getuid?.() && isMember ? '.' : meant}`);
}

function checkFolder(folder: string, asOwner: string): readonly Verdict[] {
  const mode = octal(modeOf(folder));
  const found = [];
  if (!succeeds(() => accessSync(folder, constants.W_OK | constants.X_OK))) {
    const finding = `User ${runner()} may not create files in ${folder}, and SQLite cannot write without its journal there.`;
    found.push(warning(finding, asOwner));
  }
  if ((modeOf(folder) & 0o002) !== 0) {
    const finding = `Every user may create files in ${folder} (mode ${mode}), and so put another database there.`;
    found.push(warning(finding, `\`${shellCommand('chmod', 'o-w', folder)}\``));
  }
  return found.length > 0 ? found : [ok(`${folder} (mode ${mode}) is writable for SQLite's journal files.`)];
}

const SHOWN_BACKUPS = 3;

/** As the guide and `modelgate backup` and `migrate` name them, where they lie beside the file. */
function checkBackups(path: string, { mode }: Stats): readonly Verdict[] {
  const others = (mode & GROUP_MAY) === 0 ? GROUP_MAY | OTHERS_MAY : OTHERS_MAY;
  const [folder, base] = [dirname(path), basename(path)];
  const stem = `${base.replace(/\.[^.]*$/, '')}_`;
  const isBackup = (name: string): boolean =>
    name.startsWith(`${base}.`) || (name.startsWith(stem) && /\.db(?:\.gz)?$/.test(name));
  let names: readonly string[] = [];
  // a folder may be passed through and not be listed
  succeeds(() => (names = readdirSync(folder)));
  const tooOpen = names.filter((name) => isBackup(name) && (modeOf(join(folder, name)) & others) !== 0).toSorted();
  if (tooOpen.length === 0) return [];
  const some = `${tooOpen.slice(0, SHOWN_BACKUPS).join(', ')}${tooOpen.length > SHOWN_BACKUPS ? ', …' : ''}`;
  const which = tooOpen.length === 1 ? 'a backup' : `${tooOpen.length} backups`;
  const paths = tooOpen.slice(0, 20).map((name) => join(folder, name));
  const finding = `More than may open the file may open ${which} beside the file (${some}).`;
  return [warning(finding, `\`${shellCommand('chmod', '600', ...paths)}\``)];
}

/** statfs(2). Locks of SQLite and its shared memory do not work across machines. */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB',
  0x517b: 'SMB',
  0x0102_1997: '9p',
};

/** @param type of the file system, as statfs(2) numbers it @returns nothing for one that is fit for SQLite */
function checkFileSystem(path: string, type: number): readonly Verdict[] {
  const name = NETWORK_FILE_SYSTEMS[type >>> 0];
  if (name === undefined) return [];
  const finding = `${path} is on ${name}, where SQLite's locks and its WAL mode cannot be relied on.`;
  return [
    warning(finding, 'Move the data directory to a local disk of the machine that runs the backend and the gate.'),
  ];
}

/** Checked in a third of a second, for which the backend's writers wait. */
const SMALL_BYTES = 32 * 1024 ** 2;

/** The guide's `PRAGMA integrity_check`: outside of WAL mode, where a reader keeps writers out, of a copy of a large file. */
export async function checkIntegrity(
  operation: Operation,
  mode: string,
  onProgress: (done: number, total: number) => void,
): Promise<Verdict> {
  const { path, patience } = operation;
  const { size } = statSync(path);
  if (mode === 'wal' || size <= SMALL_BYTES) return judge(await readIntegrity(path, patience.signal), size);
  using folder = mkdtempDisposableSync(join(tmpdir(), 'modelgate-doctor-'));
  try {
    const copy = join(folder.path, 'copy.db');
    writeFileSync(copy, '', { mode: 0o600 });
    await copyLive(operation, copy, () => undefined, onProgress);
    return judge(await readIntegrity(copy, patience.signal), size);
  } catch (error) {
    if (explainFailure(error, folder.path)?.code !== 'disk_full') throw error;
    return unknown(
      `Not checked: ${folder.path} has no room for a copy of ${asSize(size)}, and checking the file itself would keep the backend from writing.`,
      'Run it with TMPDIR in a folder with more room, or while the backend is stopped.',
    );
  }
}

function judge({ damage, complaints }: Awaited<ReturnType<typeof readIntegrity>>, size: number): Verdict {
  const remedy = 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`';
  if (damage !== undefined) return problem(`The file is damaged: ${damage}.`, remedy);
  const [complaint] = complaints;
  const aside = complaint === undefined ? '' : `; some rows break a rule of their own table (${complaint})`;
  return ok(`Integrity check passed: SQLite has read every page of the file (${asSize(size)})${aside}.`);
}
