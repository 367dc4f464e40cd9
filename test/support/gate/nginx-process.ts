/** A real nginx as a process of the test: one without a master, so that ending it leaves nothing behind. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until, withTimeout } from '../process/with-timeout.ts';
import { freePorts } from '../process/ports.ts';

export interface NginxProcess extends AsyncDisposable {
  readonly ports: readonly number[];
  readonly directory: string;
  /** What it wrote to its error log so far. */
  errors(): string;
}

export interface NginxOptions {
  /** A path, or a name to be found; Debian's where it is left out. */
  readonly binary?: string;
  /** How many ports it needs. */
  readonly ports: number;
  /** The directives of the http context. */
  readonly write: (place: { readonly ports: readonly number[]; readonly directory: string }) => string;
  /** Where nginx itself answers, so that the wait is for nginx alone. */
  readonly ready: { readonly path: string; readonly text: string };
}

/** Debian keeps it where only an administrator's `PATH` looks. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;
const PATIENCE_MS = 20_000;
const ATTEMPTS = 3;

/** Listens on the first port once it is there. @throws Error that names the Debian package where there is no nginx */
export async function startNginxProcess(options: NginxOptions): Promise<NginxProcess> {
  for (let attempt = 1; ; attempt++) {
    const started = await tryPorts(options, await freePorts(options.ports));
    if (typeof started !== 'string') return started;
    // nginx cannot be told to choose a port: another process may have taken it in between
    if (attempt === ATTEMPTS || !started.includes('Address already in use')) throw new Error(started);
  }
}

/** What `nginx -t` says of a configuration, where it is `startNginxProcess` that would run it. */
export async function testConfiguration(options: NginxOptions): Promise<{ code: number | null; output: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-nginx-'));
  try {
    const file = writeFiles(options, directory, await freePorts(options.ports));
    const { status, stderr } = spawnSync(options.binary ?? 'nginx', ['-t', ...words(directory, file)], {
      encoding: 'utf8',
      env: { PATH },
    });
    return { code: status, output: stderr };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** As in `1.22.1`. @throws Error where it is not installed */
export function nginxVersion(binary = 'nginx'): string {
  const { error, stderr } = spawnSync(binary, ['-v'], { encoding: 'utf8', env: { PATH } });
  const version = error === undefined ? /nginx\/([\d.]+)/.exec(stderr)?.[1] : undefined;
  if (version === undefined) throw new Error(MISSING);
  return version;
}

const MISSING = 'nginx is not installed: this test needs the Debian package nginx-light';
const words = (directory: string, file: string) => ['-p', directory, '-c', file, '-e', 'stderr'];

async function tryPorts(options: NginxOptions, ports: readonly number[]): Promise<NginxProcess | string> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-nginx-'));
  const file = writeFiles(options, directory, ports);
  const child = spawn(options.binary ?? 'nginx', words(directory, file), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH },
  });
  let output = '';
  const found = { missing: false, closed: false };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.on('error', () => (found.missing = true));
  // after its last words, which `exit` may precede
  child.on('close', () => (found.closed = true));
  const ended = (): boolean => found.missing || found.closed;
  const stop = async (): Promise<void> => {
    if (!ended()) {
      const closed = once(child, 'close');
      child.kill('SIGTERM');
      await withTimeout(closed, PATIENCE_MS, 'nginx ends');
    }
    rmSync(directory, { recursive: true, force: true });
  };
  const itself = `http://127.0.0.1:${ports[0]}${options.ready.path}`;
  try {
    await until(async () => ended() || (await says(itself, options.ready.text)), PATIENCE_MS, 'nginx listens');
  } catch (error) {
    await stop();
    throw error;
  }
  if (!ended()) return { ports, directory, errors: () => output, [Symbol.asyncDispose]: stop };
  await stop();
  return found.missing ? MISSING : `nginx ended: ${output}`;
}

async function says(url: string, text: string): Promise<boolean> {
  const answer = await fetch(url).catch(() => undefined);
  return (await answer?.text()) === text;
}

function writeFiles({ write }: NginxOptions, directory: string, ports: readonly number[]): string {
  const file = join(directory, 'nginx.conf');
  writeFileSync(
    file,
    `
daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  ${write({ ports, directory })}
}
`,
  );
  return file;
}
