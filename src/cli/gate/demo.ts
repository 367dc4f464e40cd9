/**
 * `modelgate demo`: a sample backend, a sample database, and the gate in front of both, configured as an operator would.
 * Nothing outlives it: on the signal everything is closed and the database removed.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../../config/parse.ts';
import type { Config } from '../../config/schema.ts';
import { guideLines, quote, writeGuide } from '../../demo/guide.ts';
import { startSampleBackend } from '../../demo/sample-backend.ts';
import type { SampleDatabase } from '../../demo/sample-database.ts';
import { createSampleDatabase } from '../../demo/sample-database.ts';

/** The gate as `serve` runs it. */
export interface DemoGate {
  readonly port: number;
  readonly adminPort: number;
  close(): Promise<void>;
}

export interface DemoOptions {
  /** Wanted ports; where one is taken the system chooses another. */
  readonly port: number;
  readonly adminPort: number;
  readonly logLevel: string;
  readonly startGate: (config: Config) => Promise<DemoGate>;
  readonly write: (text: string) => void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

const HOST = '127.0.0.1';
/** About the pace of a real model. */
const WORD_DELAY_MS = 60;

/** @returns when `signal` was aborted and nothing of the demo is left */
export async function runDemo(options: DemoOptions): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const database = createSampleDatabase();
  cleanup.defer(() => database.remove());
  const { path, secretKey } = database;
  const backend = await startSampleBackend({ database: path, secretKey, wordDelayMs: WORD_DELAY_MS });
  cleanup.defer(() => backend.close());
  const gate = await options.startGate(await demoConfig(options, database, backend.url));
  cleanup.defer(() => gate.close());

  const addresses = {
    gate: `http://${HOST}:${gate.port}`,
    admin: `http://${HOST}:${gate.adminPort}`,
    backend: backend.url,
  };
  const explain = `${quote(process.execPath)} ${quote(fileURLToPath(new URL('../../main.ts', import.meta.url)))}`;
  options.write(
    writeGuide(database, addresses, guideLines(database, addresses.gate, explain), notePorts(options, gate)),
  );
  if (!options.signal.aborted) await once(options.signal, 'abort');
  options.write('\nThe demo has ended, its database is removed.\n');
}

/** Goes through the variables that `serve` reads, so that the demo shows what a deployment would do. */
async function demoConfig(options: DemoOptions, database: SampleDatabase, upstream: string): Promise<Config> {
  const environment = {
    MODELGATE_UPSTREAM_URL: upstream,
    MODELGATE_HOST: HOST,
    MODELGATE_PORT: String(await freePort(options.port)),
    MODELGATE_ADMIN_HOST: HOST,
    MODELGATE_ADMIN_PORT: String(await freePort(options.adminPort)),
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: database.secretKey,
    LOG_LEVEL: options.logLevel,
    MODELGATE_DRAIN_TIMEOUT: '2s', // whoever presses Ctrl-C does not want to wait
  };
  const parsed = parseConfig({ environment, directory: database.directory, readSecret: noFiles });
  if (parsed.issues !== undefined)
    throw new Error(`The demo's own configuration is wrong: ${JSON.stringify(parsed.issues)}`);
  return parsed.config;
}

function noFiles(path: string): never {
  throw new Error(`The demo reads no secret files, not even ${path}.`);
}

/** @returns the port where it can be listened on, else 0: any free one */
async function freePort(wanted: number): Promise<number> {
  const probe = createServer();
  try {
    await once(probe.listen(wanted, HOST), 'listening');
    return wanted;
  } catch {
    return 0; // taken, or not ours to take
  } finally {
    if (probe.listening) await once(probe.close(), 'close');
  }
}

/** What to say about ports that are not the ones that were asked for. */
function notePorts(wanted: Pick<DemoOptions, 'port' | 'adminPort'>, found: DemoGate): readonly string[] {
  const pairs = [
    { asked: wanted.port, used: found.port },
    { asked: wanted.adminPort, used: found.adminPort },
  ];
  return pairs
    .filter(({ asked, used }) => asked !== used && asked !== 0)
    .map(({ asked, used }) => `Port ${asked} is taken: ${used} is used instead.`);
}
