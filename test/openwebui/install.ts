import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import Database from 'better-sqlite3';

import { RELEASES, requirementsFile, requirementsText, type Release } from './release.ts';

export interface InstalledOpenWebui {
  release: Release;
  /** The virtual environment's own interpreter. */
  python: string;
}

/** A pinned release is not there and could not be fetched; says which, where and why. */
export class OpenWebuiInstallError extends Error {
  override readonly name = 'OpenWebuiInstallError';

  constructor(release: Release, reason: string) {
    super(`Open WebUI ${release} could not be installed: ${reason}`);
  }
}

interface Finished {
  code: number | null;
  output: string;
}

const MARKER = 'installed';
const ATTEMPTS = 3;
const PAUSE_MS = 3_000;
const PIP_DEADLINE_MS = 15 * 60_000;
const LOCK_DEADLINE_MS = 30 * 60_000;
const INTERPRETERS = ['python3.11', 'python3.12', 'python3', 'python'];

/** Where the virtual environments live: outside the checkout, so that a fresh clone finds them again. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  if (env['GATE_TEST_CACHE']) return env['GATE_TEST_CACHE'];
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'modelgate');
}

/** Runs a command to its end; a command that takes longer than `deadlineMs` is killed and counts as failed. */
async function run(command: string, args: string[], deadlineMs: number): Promise<Finished> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: deadlineMs, killSignal: 'SIGKILL' });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, output: error.message }));
    child.on('close', (code, signal) => resolve({ code, output: signal ? `${output}\nended by ${signal}` : output }));
  });
}

/** The releases declare Python >= 3.11 and < 3.13 (`Requires-Python` of both wheels). */
async function findPython(release: Release): Promise<string> {
  const named = process.env['PYTHON'];
  for (const candidate of named ? [named] : INTERPRETERS) {
    const answer = await run(candidate, ['-c', 'import sys, venv; print("%d.%d" % sys.version_info[:2])'], 20_000);
    if (answer.code === 0 && ['3.11', '3.12'].includes(answer.output.trim())) return candidate;
  }
  const tried = (named ? [named] : INTERPRETERS).join(', ');
  throw new OpenWebuiInstallError(release, `it needs Python 3.11 or 3.12 with venv; tried ${tried}`);
}

/**
 * Runs `work` while no other process does. The lock is SQLite's own on an empty file: the operating system
 * releases it when its holder dies, so nothing is ever left locked.
 */
async function exclusively<T>(lockFile: string, work: () => Promise<T>): Promise<T> {
  const lock = new Database(lockFile, { timeout: 0 });
  try {
    const deadline = Date.now() + LOCK_DEADLINE_MS;
    while (!tryLock(lock)) {
      if (Date.now() > deadline) throw new Error(`${lockFile} is still held by another process`);
      await delay(250);
    }
    return await work();
  } finally {
    lock.close();
  }
}

function tryLock(lock: Database.Database): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return false;
    throw error;
  }
}

function interpreterOf(directory: string): string {
  return join(directory, 'bin', 'python');
}

function lastLines(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-6).join('\n');
}

async function install(release: Release, directory: string): Promise<void> {
  const interpreter = await findPython(release);
  const venv = await run(interpreter, ['-m', 'venv', '--clear', directory], 120_000);
  if (venv.code !== 0) throw new OpenWebuiInstallError(release, `no virtual environment:\n${lastLines(venv.output)}`);

  // Without dependencies: the list is complete, and pip must not add the gigabytes that it leaves out on purpose.
  const options = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps'];
  const what = [`open-webui==${release}`, '--requirement', fileURLToPath(requirementsFile(release))];
  let last = '';
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const pip = await run(interpreterOf(directory), [...options, ...what], PIP_DEADLINE_MS);
    if (pip.code === 0) return;
    last = lastLines(pip.output);
    if (attempt < ATTEMPTS) await delay(PAUSE_MS * attempt);
  }
  throw new OpenWebuiInstallError(release, `pip failed ${ATTEMPTS} times, the last time with:\n${last}`);
}

/**
 * Builds beside `directory` and renames when all is there. A killed installer's pip may go on for a while: it then
 * writes into a directory that is not used. (A renamed environment works for `bin/python`, which is all we run.)
 */
async function installInto(release: Release, directory: string): Promise<void> {
  const prefix = `${basename(directory)}.building-`;
  const discard = (path: string): void => rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  for (const name of readdirSync(dirname(directory))) {
    if (name.startsWith(prefix)) discard(join(dirname(directory), name));
  }
  console.error(`installing Open WebUI ${release} (once, a few minutes, 800 MB) into ${directory}`);
  const started = Date.now();
  const building = mkdtempSync(join(dirname(directory), prefix));
  try {
    await install(release, building);
    // Written last: a directory without it is half an installation and is made anew.
    writeFileSync(join(building, MARKER), `${new Date().toISOString()}\n`);
    discard(directory);
    renameSync(building, directory);
  } catch (error) {
    discard(building);
    throw error;
  }
  console.error(`installed Open WebUI ${release} in ${Math.round((Date.now() - started) / 1000)} s`);
}

/**
 * Installs a pinned release into the cache once; later calls, and other processes, find it there.
 *
 * @throws OpenWebuiInstallError when there is no fitting Python or pip fails three times
 */
export async function installOpenWebui(release: Release): Promise<InstalledOpenWebui> {
  const pins = createHash('sha256').update(requirementsText(release)).digest('hex').slice(0, 12);
  const directory = join(cacheDirectory(), `open-webui-${release}-${pins}`);
  const python = interpreterOf(directory);
  const marker = join(directory, MARKER);
  if (existsSync(marker)) return { release, python };

  mkdirSync(cacheDirectory(), { recursive: true });
  await exclusively(`${directory}.lock`, async () => {
    if (!existsSync(marker)) await installInto(release, directory);
  });
  return { release, python };
}

if (import.meta.main) {
  for (const release of RELEASES) await installOpenWebui(release);
}
