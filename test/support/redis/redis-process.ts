/** A real redis-server of the test's own: its own port, its own folder, stopped by its process. Sentinel is one too. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Redis } from 'ioredis';
import { freePort } from '../process/ports.ts';
import { until, withTimeout } from '../process/with-timeout.ts';

const PATIENCE_MS = 15_000;

export interface RedisProcess extends AsyncDisposable {
  readonly port: number;
  /** `redis://127.0.0.1:PORT`. */
  readonly url: string;
  readonly child: () => ChildProcess;
  /** SIGSTOP: it takes connections, and answers nothing. */
  freeze(): void;
  thaw(): void;
  /** SIGKILL: what it knew is gone. */
  kill(): Promise<void>;
  /** The same again, on the same port, empty. */
  restart(): Promise<void>;
  /** As an operator asks it. */
  ask(...words: (string | number)[]): Promise<unknown>;
}

/** Until the running test ends. @param directives lines of `redis.conf` */
export async function redisOfTest(...how: Parameters<typeof startRedis>): Promise<RedisProcess> {
  const redis = await startRedis(...how);
  onTestFinished(() => redis[Symbol.asyncDispose]());
  return redis;
}

export async function startRedis(
  directives: readonly string[] = [],
  words: readonly string[] = [],
): Promise<RedisProcess> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-redis-'));
  const file = join(directory, 'redis.conf');
  const common = [`port ${port}`, 'bind 127.0.0.1', `dir ${directory}`];
  const isSentinel = words.includes('--sentinel');
  let child = await launch();
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await withTimeout(ended, PATIENCE_MS, 'redis-server ends');
  };
  async function launch(): Promise<ChildProcess> {
    writeFileSync(file, [...common, ...(isSentinel ? [] : ['save ""']), ...directives, ''].join('\n'));
    const started = spawn('redis-server', [file, ...words], { stdio: 'ignore' });
    const missing = once(started, 'error').then(() => {
      throw new Error('redis-server is not installed: this test needs the Debian package redis-server');
    });
    try {
      await Promise.race([missing, until(() => answers(port), PATIENCE_MS, 'redis-server listens')]);
      return started;
    } catch (error) {
      started.kill('SIGKILL');
      throw error;
    }
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    child: () => child,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill: stop,
    async restart() {
      child = await launch();
    },
    async ask(word, ...rest) {
      const client = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: 1, protocol: 2 });
      try {
        return await client.call(String(word), ...rest);
      } finally {
        client.disconnect();
      }
    },
    async [Symbol.asyncDispose]() {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A master, its replica, and a Sentinel that takes a master for dead after 800 ms. */
export async function sentinelsOfTest(name: string) {
  const master = await redisOfTest();
  const replica = await redisOfTest([`replicaof 127.0.0.1 ${master.port}`]);
  const lines = [`monitor ${name} 127.0.0.1 ${master.port} 1`, `down-after-milliseconds ${name} 800`];
  const timing = [`failover-timeout ${name} 5000`];
  const sentinel = await redisOfTest(
    [...lines, ...timing].map((line) => `sentinel ${line}`),
    ['--sentinel'],
  );
  const knows = async (): Promise<boolean> => String(await sentinel.ask('SENTINEL', 'replicas', name)).length > 0;
  await until(knows, PATIENCE_MS, 'the Sentinel knows the replica');
  return { master, replica, sentinel };
}

/** Whatever it answers, a refusal too. */
function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise((resolve) => {
    const end = (isThere: boolean) => () => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('error', end(false)).once('data', end(true)).write('PING\r\n');
  });
}
