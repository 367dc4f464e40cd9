/**
 * `modelgate demo`: a sample backend, a sample database, and the gate in front of both, configured as an operator would.
 * Nothing outlives it: on the signal everything is closed and the database removed.
 */
import type { Command } from '@commander-js/extra-typings';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../../config/parse.ts';
import type { Config } from '../../config/schema.ts';
import type { DemoDatabase } from '../../demo/database.ts';
import type { RunningGate } from '../../gate/start.ts';
import { type CommandLine, type OptionsOf, toCount, withExamples } from '../options.ts';
import { type Terminal, CommandFailure } from '../terminal.ts';
import { createGateLog, startGate } from './serve.ts';

/** Adds `demo`. */
export function addDemo({ program, terminal, version }: CommandLine): void {
  declare(program).action((options) => runDemo(options, terminal, version));
}

const toPort = toCount(0, 65_535);

const declare = (program: Command) =>
  withExamples(program.command('demo'), 'modelgate demo --port 8000')
    .description('run the gate with a sample backend and database, and print what to try')
    .option('--port <number>', 'port of the gate (8080 if it is free)', toPort)
    .option('--admin-port <number>', 'port of the admin listener (9464 if it is free)', toPort)
    .option('--log-level <level>', 'least severe log line that is written', 'ERROR');

type DemoOptions = OptionsOf<typeof declare>;

type Ports = Pick<RunningGate, 'port' | 'adminPort'>;

const USUAL: Ports = { port: 8080, adminPort: 9464 };
const HOST = '127.0.0.1';
/** About the pace of a real model. */
const WORD_DELAY_MS = 60;

/** @returns when Ctrl-C was pressed and nothing of the demo is left */
async function runDemo(options: DemoOptions, terminal: Terminal, version: string): Promise<void> {
  // loaded when the demo runs: other commands and the help do not need them
  const [{ startDemoBackend }, { createDemoDatabase }, { writeGuide }] = await Promise.all([
    import('../../demo/backend.ts'),
    import('../../demo/database.ts'),
    import('../../demo/guide.ts'),
  ]);
  const port = await findPort('--port', options.port, USUAL.port);
  const adminPort = await findPort('--admin-port', options.adminPort, USUAL.adminPort, port);
  await using cleanup = new AsyncDisposableStack();
  const database = createDemoDatabase();
  cleanup.defer(() => database.remove());
  const backend = await startDemoBackend({ ...database, wordDelayMs: WORD_DELAY_MS });
  cleanup.defer(() => backend.close());
  const config = demoConfig({ port, adminPort }, options.logLevel, database, backend.url);
  const log = createGateLog(config, terminal.screen);
  const gate = await startGate(config, log, version);
  cleanup.defer(async () => {
    await gate.close();
    await log.flush();
  });

  terminal.write(
    writeGuide({
      database,
      gate: `http://${HOST}:${gate.port}`,
      admin: `http://${HOST}:${gate.adminPort}`,
      backend: backend.url,
      modelgate: [process.execPath, fileURLToPath(new URL('../../main.ts', import.meta.url))],
      notes: notePorts(options, gate),
    }),
  );
  if (!terminal.stop.aborted) await once(terminal.stop, 'abort');
  terminal.write('\nThe demo has ended, its database is removed.\n');
}

/** Goes through the variables that `serve` reads, so that the demo shows what a deployment would do. */
function demoConfig(ports: Ports, logLevel: string, database: DemoDatabase, upstream: string): Config {
  const environment = {
    MODELGATE_UPSTREAM_URL: upstream,
    MODELGATE_HOST: HOST,
    MODELGATE_PORT: String(ports.port),
    MODELGATE_ADMIN_HOST: HOST,
    MODELGATE_ADMIN_PORT: String(ports.adminPort),
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: database.secretKey,
    LOG_LEVEL: logLevel,
    MODELGATE_DRAIN_TIMEOUT: '2s', // Ctrl-C must not wait
  };
  const parsed = parseConfig({ environment, directory: database.directory, readSecret: noFiles });
  if (parsed.issues !== undefined)
    throw new Error(`The demo's own configuration is wrong: ${JSON.stringify(parsed.issues)}`);
  return parsed.config;
}

function noFiles(path: string): never {
  throw new Error(`The demo reads no secret files, not even ${path}.`);
}

/**
 * @param promised the port of the other listener, which is as good as taken
 * @returns a port that can be listened on; 0 is any
 * @throws CommandFailure where one was asked for and is taken: who asks for a port has told others of it
 */
async function findPort(option: string, asked: number | undefined, usual: number, promised = 0): Promise<number> {
  const wanted = asked ?? usual;
  const probe = createServer();
  try {
    if (wanted !== 0 && wanted === promised) throw Object.assign(new Error(), { code: 'EADDRINUSE' });
    await once(probe.listen(wanted, HOST), 'listening');
    return wanted;
  } catch (error) {
    if (asked === undefined) return 0;
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    const reason = isTaken ? 'is taken' : 'is not for this user';
    const other = isTaken && wanted < 65_535 ? wanted + 1 : usual;
    throw new CommandFailure(`Port ${wanted} ${reason}. Ask for another: npm run demo -- ${option} ${other}`);
  } finally {
    if (probe.listening) await once(probe.close(), 'close');
  }
}

/** What to say about usual ports that are not used. */
function notePorts(asked: Pick<DemoOptions, 'port' | 'adminPort'>, used: Ports): readonly string[] {
  return (['port', 'adminPort'] as const)
    .filter((which) => asked[which] === undefined && used[which] !== USUAL[which])
    .map((which) => `Port ${USUAL[which]} is taken: ${used[which]} is used instead.`);
}
