/** Debian's nginx as the reverse proxy in front of the gate, with the fewest settings that this takes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closed, listening } from './upstreams.ts';
import { until, withTimeout } from './with-timeout.ts';

export interface Nginx extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
}

/** Debian keeps it where only an administrator's `PATH` looks. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;
const PATIENCE_MS = 10_000;
const ATTEMPTS = 3;

/** @param origin of the gate @throws Error that names the Debian package where there is no nginx */
export async function startNginx(origin: string): Promise<Nginx> {
  for (let attempt = 1; ; attempt++) {
    const started = await tryPort(origin, await freePort());
    if (typeof started !== 'string') return started;
    // nginx cannot be told to choose a port: another process may have taken it in between
    if (attempt === ATTEMPTS || !started.includes('Address already in use')) throw new Error(started);
  }
}

async function tryPort(origin: string, port: number): Promise<Nginx | string> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-nginx-'));
  const file = join(directory, 'nginx.conf');
  writeFileSync(file, configuration(origin, port, directory));
  const child = spawn('nginx', ['-p', directory, '-c', file, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH },
  });
  let output = '';
  const found = { missing: false };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.on('error', () => (found.missing = true));
  const ended = (): boolean => found.missing || child.exitCode !== null || child.signalCode !== null;
  const stop = async (): Promise<void> => {
    if (!ended()) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await withTimeout(exited, PATIENCE_MS, 'nginx ends');
    }
    rmSync(directory, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    await until(async () => ended() || (await listens(url)), PATIENCE_MS, 'nginx listens');
  } catch (error) {
    await stop();
    throw error;
  }
  if (!ended()) return { url, port, [Symbol.asyncDispose]: stop };
  await stop();
  return found.missing
    ? 'nginx is not installed: this test needs the Debian package nginx-light'
    : `nginx ended: ${output}`;
}

/** Answered by nginx itself, so that the wait is for nginx alone. */
async function listens(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/nginx-itself`).catch(() => undefined);
  return (await answer?.text()) === 'nginx';
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await closed(server);
  return port;
}

/** One process without a master, so that ending it leaves nothing behind. */
function configuration(origin: string, port: number, directory: string): string {
  return `
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
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:${port};
    location = /nginx-itself { return 200 nginx; }
    location / {
      proxy_pass ${origin};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
    }
  }
}
`;
}
