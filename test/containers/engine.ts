/** podman or Docker with its Compose, whichever this machine has, as commands that end. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDirectory } from '../openwebui/install.ts';

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}

/** Debian keeps some programs where only an administrator's `PATH` looks; `.ci/run` puts podman-compose into the cache. */
const PATH = [
  join(cacheDirectory(), 'podman-compose', 'bin'),
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/local/sbin',
  '/usr/sbin',
].join(delimiter);

const isInstalled = (program: string): boolean =>
  PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));

/** The first of the two that is installed, which need not mean that it works. */
export const ENGINE = isInstalled('podman') ? 'podman' : 'docker';
const COMPOSE = ENGINE === 'podman' ? ['podman-compose'] : ['docker', 'compose'];

/** Programs under the names that an operator types, where this machine lacks them. */
const STAND_INS = [ENGINE === 'podman' ? ['as-podman'] : [], process.getuid?.() === 0 ? ['as-root'] : []]
  .flat()
  .map((folder) => fileURLToPath(new URL(folder, import.meta.url)));

const ENVIRONMENT = { ...process.env, PATH, BUILDAH_FORMAT: 'docker', ...withoutSystemd() };

/** Runs a command to its end; one that takes longer than `deadlineMs` is killed and has no exit code. Never rejects. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { cwd, env, deadlineMs = 120_000 } = options;
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...ENVIRONMENT, ...env },
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
    ...(cwd !== undefined && { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, stdout, stderr: error.message }));
    child.on('close', (code) => resolve({ code, stdout, stderr: withoutTimers(stderr) }));
  });
}

/** A command of the engine that must succeed. @returns what it printed, without the last newline @throws Error */
export async function engine(args: readonly string[], options: RunOptions = {}): Promise<string> {
  return must(ENGINE, args, options);
}

/** The same for Compose. */
export async function compose(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const [program = '', ...first] = COMPOSE;
  return must(program, [...first, ...args], options);
}

/** A command as an operator types it, which must succeed: `docker` is the engine, whichever it is. */
export async function shell(command: string, options: RunOptions = {}): Promise<string> {
  const env = { ...options.env, PATH: [...STAND_INS, PATH].join(delimiter) };
  return must('sh', ['-c', command], { ...options, env });
}

async function must(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code === 0) return stdout.trimEnd();
  const end = `${stdout}${stderr}`.trim().split('\n').slice(-12).join('\n');
  throw new Error(
    `${program} ${args.join(' ')}: ${code === null ? 'no end in time, or not installed' : `exit code ${code}`}\n${end}`,
  );
}

/** @throws Error that says in one sentence what is missing */
export async function requireEngine(): Promise<void> {
  const version = await run(ENGINE, ['info']);
  if (version.code !== 0) {
    throw new Error(`These tests need podman, or Docker with its daemon; ${ENGINE} says: ${version.stderr.trim()}`);
  }
  const composed = await run(COMPOSE[0] ?? '', [...COMPOSE.slice(1), 'version']);
  // Debian 12 has 1.0.3, which knows neither profiles nor health checks without a shell
  const [, major = 0, minor = 0] = /podman-compose version v?(\d+)\.(\d+)/.exec(composed.stdout)?.map(Number) ?? [];
  if (composed.code !== 0 || (ENGINE === 'podman' && major < 2 && minor < 3)) {
    throw new Error(`These tests need ${COMPOSE.join(' ')}, for podman 1.3 or later: pip install podman-compose`);
  }
}

/**
 * Where no systemd runs (a container, a build machine), podman's defaults fail: its cgroups, its events and its limits.
 * Settings of a user who runs it otherwise are left alone.
 */
function withoutSystemd(): Readonly<Record<string, string>> {
  if (ENGINE !== 'podman' || existsSync('/run/systemd/system') || process.env['CONTAINERS_CONF']) return {};
  const file = join(mkdtempSync(join(tmpdir(), 'modelgate-podman-')), 'containers.conf');
  writeFileSync(
    file,
    `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
`,
  );
  return { CONTAINERS_CONF: file };
}

/** podman says at every start that it has no systemd to run health checks with. */
const withoutTimers = (text: string): string => text.replace(/^.*(?:systemd|to syslog).*\n?/gm, '');
