import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { until, withTimeout } from '../support/process/with-timeout.ts';
import { backendEnvironment } from './environment.ts';
import { installOpenWebui } from './install.ts';
import type { Release } from './release.ts';

export interface OpenWebuiOptions {
  version: Release;
  /** Base URL of the OpenAI-compatible provider, with its `/v1`. */
  providerUrl: string;
  /** Switches the Ollama API on; base URL without a path. */
  ollamaUrl?: string;
  /** Settings that replace those of `backendEnvironment`. */
  env?: Record<string, string>;
}

export interface OpenWebui {
  version: Release;
  url: string;
  dataDir: string;
  databasePath: string;
  secretKey: string;
  /** Where its data is, as it and the gate have it in their environment; empty where that is a file below `dataDir`. */
  databaseSettings: Record<string, string>;
  /** Milliseconds from spawning the process to its first healthy answer. */
  startedAfterMs: number;
  /** What the backend has written so far, the newest megabyte. */
  log: () => string;
  close: () => Promise<void>;
}

const START_DEADLINE_MS = 240_000;
const END_DEADLINE_MS = 5_000;
const LOG_LIMIT = 1_000_000;

/** A process with everything that it writes, which dies with us and can be ended with its children. */
interface Served {
  child: ChildProcess;
  output: () => string;
  ended: () => boolean;
}

function serve(python: string, env: Record<string, string>, cwd: string): Served {
  const script = fileURLToPath(new URL('serve.py', import.meta.url));
  // A group of its own, so that one signal reaches whatever the backend starts.
  const child = spawn(python, [script], { env, cwd, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-LOG_LIMIT);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  // Its end is what `ended` reports; the text of a failed spawn differs.
  child.on('error', (error) => keep(Buffer.from(`${error.message}\n`)));
  child.stdin.on('error', () => undefined);
  const ended = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  return { child, output: () => output, ended };
}

async function end(served: Served): Promise<void> {
  const { child } = served;
  if (served.ended() || child.pid === undefined) return;
  const group = -child.pid;
  const exited = once(child, 'exit');
  process.kill(group, 'SIGTERM');
  const gently = await withTimeout(
    exited.then(() => true),
    END_DEADLINE_MS,
    'Open WebUI ends',
  ).catch(() => false);
  if (gently) return;
  process.kill(group, 'SIGKILL');
  await withTimeout(exited, END_DEADLINE_MS, 'Open WebUI ends after SIGKILL');
}

async function healthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(5_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

async function untilHealthy(served: Served): Promise<string> {
  let url: string | undefined;
  await until(
    async () => {
      if (served.ended()) throw new Error('it ended by itself');
      const port = /^open-webui-port=(\d+)$/m.exec(served.output())?.[1];
      url ??= port === undefined ? undefined : `http://127.0.0.1:${port}`;
      return url !== undefined && (await healthy(url));
    },
    START_DEADLINE_MS,
    'Open WebUI answers on /health',
  );
  if (url === undefined) throw new Error('no port was announced');
  return url;
}

/**
 * Starts a real Open WebUI with an empty database on a free loopback port and waits until it is healthy.
 * It is installed first where that has not happened yet. Close it: it is a process of about 400 MB.
 *
 * @throws OpenWebuiInstallError, or an Error with the end of the backend's log when it does not become healthy
 */
export async function startOpenWebui(options: OpenWebuiOptions): Promise<OpenWebui> {
  const { python } = await installOpenWebui(options.version);
  const dataDir = mkdtempSync(join(tmpdir(), 'modelgate-openwebui-'));
  const secretKey = randomBytes(24).toString('base64');
  const env = { ...backendEnvironment({ ...options, dataDir, secretKey }), ...options.env };
  const started = performance.now();
  const served = serve(python, env, dataDir);
  const close = async (): Promise<void> => {
    await end(served);
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    const url = await untilHealthy(served);
    return {
      version: options.version,
      url,
      dataDir,
      databasePath: join(dataDir, 'webui.db'),
      secretKey: env['WEBUI_SECRET_KEY'] ?? secretKey,
      databaseSettings: Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('DATABASE_'))),
      startedAfterMs: Math.round(performance.now() - started),
      log: served.output,
      close,
    };
  } catch (error) {
    const tail = served.output().split('\n').slice(-40).join('\n');
    await close();
    throw new Error(`Open WebUI ${options.version} did not start. The end of its log:\n${tail}`, { cause: error });
  }
}
