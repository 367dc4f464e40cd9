/** `modelgate demo`: a sample backend and database, and the gate in front of both. Nothing outlives the signal. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../../config/parse.ts';
import { commandOf, toCount } from '../options.ts';
import { CommandFailure, EXIT } from '../terminal.ts';
import { runGate } from './serve.ts';

const toPort = toCount(0, 65_535);

const USUAL = { port: 8080, adminPort: 9464 };
const HOST = '127.0.0.1';

export const addDemo = commandOf(
  'demo',
  'run the gate with a sample backend and database, and print what to try\n$ modelgate demo --port 8000',
  (command) =>
    command
      .option('--port <number>', 'port of the gate (8080 if it is free)', toPort)
      .option('--admin-port <number>', 'port of the admin listener (9464 if it is free)', toPort)
      .option('--log-level <level>', 'least severe log line that is written', 'ERROR'),
  async (options, terminal) => {
    const [{ startDemoBackend }, { createDemoDatabase, writeGuide }] = await Promise.all([
      import('../../demo/backend.ts'),
      import('../../demo/database.ts'),
    ]);
    const port = await findPort('--port', options.port, USUAL.port);
    const adminPort = await findPort('--admin-port', options.adminPort, USUAL.adminPort, port);
    await using cleanup = new AsyncDisposableStack();
    const database = createDemoDatabase();
    cleanup.defer(() => database.remove());
    const backend = await startDemoBackend(database);
    cleanup.defer(() => backend.close());
    // through the variables that `serve` reads, so that the demo shows what a deployment would do
    const environment = {
      MODELGATE_UPSTREAM_URL: backend.url,
      MODELGATE_HOST: HOST,
      MODELGATE_PORT: String(port),
      MODELGATE_ADMIN_HOST: HOST,
      MODELGATE_ADMIN_PORT: String(adminPort),
      DATABASE_URL: `sqlite:///${database.path}`,
      WEBUI_SECRET_KEY: database.secretKey,
      LOG_LEVEL: options.logLevel,
      MODELGATE_DRAIN_TIMEOUT: '2s', // Ctrl-C must not wait
    };
    const parsed = parseConfig({ environment, directory: database.directory, readSecret: () => '' });
    if (parsed.issues !== undefined)
      throw new Error(`The demo's own settings are wrong: ${JSON.stringify(parsed.issues)}`);
    await runGate(parsed.config, terminal, (gate) => {
      const guide = writeGuide({
        database,
        gate: `http://${HOST}:${gate.port}`,
        admin: `http://${HOST}:${gate.adminPort}`,
        backend: backend.url,
        modelgate: [process.execPath, fileURLToPath(new URL('../../main.ts', import.meta.url))],
      });
      const taken = (['port', 'adminPort'] as const).filter(
        (which) => options[which] === undefined && gate[which] !== USUAL[which],
      );
      const notes = taken.map((which) => `Port ${USUAL[which]} is taken: ${gate[which]} is used instead.\n`);
      terminal.write(notes.join('') + guide);
    });
    terminal.write('\nThe demo has ended, its database is removed.\n');
    return EXIT.done;
  },
);

/** @param promised the port of the other listener, which is as good as taken @returns a port that can be listened on; 0 is any */
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
