import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { withTimeout } from '../process/with-timeout.ts';

export const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

/** Reading TypeScript is half of a start, as in the image. */
const COMPILED = fileURLToPath(new URL('../../../node_modules/.cache/modelgate', import.meta.url));

/** Longest time for a process to start or to end on a machine that has other things to do. */
const PATIENCE_MS = 15_000;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ModelgateProcess {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Log lines so far; fails where a line of standard output is no JSON. */
  lines(): Record<string, unknown>[];
  /** The first log line with this message, of those written and those to come. */
  line(message: string | RegExp): Promise<Record<string, unknown>>;
  ended(): Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts `modelgate` with these words and no environment but this, as another user where one is given. */
export function startModelgate(
  words: readonly string[],
  environment: Record<string, string> = {},
  directory = '/',
  user: { readonly uid?: number; readonly gid?: number } = {},
): ModelgateProcess {
  const child = spawn(process.execPath, [MAIN, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { NODE_COMPILE_CACHE: COMPILED, ...environment },
    cwd: directory,
    ...user,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(child, 'close');
  const lines = (): Record<string, unknown>[] =>
    stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const find = (message: string | RegExp): Record<string, unknown> | undefined =>
    lines().find(({ msg }) => (typeof message === 'string' ? msg === message : message.test(String(msg))));
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    lines,
    async line(message) {
      const found = new Promise<Record<string, unknown>>((resolve, reject) => {
        const look = (): void => {
          const line = find(message);
          if (line === undefined) return;
          child.stdout.off('data', look);
          resolve(line);
        };
        child.stdout.on('data', look);
        void closed.then(() => {
          look();
          reject(new Error(`modelgate ended without the line ${String(message)}: ${stdout}${stderr}`));
        });
        look();
      });
      return withTimeout(found, PATIENCE_MS, `the log line ${String(message)}`);
    },
    async ended() {
      await withTimeout(closed, PATIENCE_MS, 'modelgate ends');
      return { code: child.exitCode, stdout, stderr };
    },
    kill: (signal) => void child.kill(signal),
  };
}

/** Runs a command to its end. */
export function runModelgate(
  words: readonly string[],
  environment: Record<string, string> = {},
  directory = '/',
): Promise<Ended> {
  return startModelgate(words, environment, directory).ended();
}

export interface ServingProcess extends ModelgateProcess, AsyncDisposable {
  readonly url: string;
  readonly adminUrl: string;
}

/** Starts `modelgate serve` on free ports and waits until it listens. */
export async function serveModelgate(environment: Record<string, string>): Promise<ServingProcess> {
  const gate = startModelgate(['serve'], {
    MODELGATE_HOST: '127.0.0.1',
    MODELGATE_PORT: '0',
    MODELGATE_ADMIN_PORT: '0',
    ...environment,
  });
  const { url, admin_url: adminUrl } = await gate.line('modelgate listens').catch((error: unknown) => {
    gate.kill('SIGKILL');
    throw error;
  });
  return {
    ...gate,
    url: String(url),
    adminUrl: String(adminUrl),
    async [Symbol.asyncDispose]() {
      if (gate.child.exitCode === null) gate.kill('SIGKILL');
      await gate.ended();
    },
  };
}

/** @returns the status of a chat with the model */
export async function chatStatus(
  { url }: Pick<ServingProcess, 'url'>,
  model: string,
  credential: string,
): Promise<number> {
  const answer = await fetch(`${url}/api/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [] }),
  });
  await answer.arrayBuffer();
  return answer.status;
}
