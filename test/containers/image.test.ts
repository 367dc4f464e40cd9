/** The image alone: what is in it, who it runs as, and what it says where something is wrong. */
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createDatabase } from '../support/database/database.ts';
import { engine, ENGINE, run } from './engine.ts';
import { MODELGATE, ROOT } from './images.ts';
import { eventually } from './stack.ts';

const RESTRICTED = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--network', 'none'];
const SETTINGS = {
  MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  WEBUI_SECRET_KEY: 'a-key-of-the-container-tests-0123456789',
  DATA_DIR: '/app/backend/data',
};
const folders: string[] = [];

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const variables = (values: Readonly<Record<string, string>>) =>
  Object.entries(values).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
const runOnce = (options: readonly string[], words: readonly string[] = []) =>
  run(ENGINE, ['run', '--rm', ...RESTRICTED, ...options, MODELGATE, ...words]);
const inside = async (script: string) =>
  (await runOnce(['--entrypoint', 'node'], ['--print', script])).stdout.trimEnd();

/** A folder with a backend's database, as its owner would have left it. */
function dataFolder(owner: { uid: number; gid: number; folder: number; file: number }): string {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-owners-'));
  folders.push(directory);
  using database = createDatabase({ directory, organizationTables: 'none' });
  database.addUser({ id: 'ann' });
  database.sql.close();
  chownSync(join(directory, 'webui.db'), owner.uid, owner.gid);
  chmodSync(join(directory, 'webui.db'), owner.file);
  chownSync(directory, owner.uid, owner.gid);
  chmodSync(directory, owner.folder);
  return directory;
}

interface Ready {
  readonly ready: boolean;
  readonly database: {
    readonly readable: boolean;
    readonly missing: readonly string[];
    readonly problem: string | null;
  };
}

/** Starts the gate, asks `/readyz` inside and removes it. */
async function readiness(options: readonly string[]): Promise<Ready & { readonly log: string }> {
  const id = await engine(['run', '--detach', ...RESTRICTED, ...options, ...variables(SETTINGS), MODELGATE]);
  try {
    const log = async () => (await run(ENGINE, ['logs', id])).stdout;
    await eventually(async () => (await log()).includes('modelgate listens'), 'modelgate listens');
    const ask = "fetch('http://127.0.0.1:9464/readyz').then(async (answer) => console.log(await answer.text()))";
    for (;;) {
      const answer = JSON.parse(await engine(['exec', id, 'node', '--eval', ask])) as Ready;
      // SQLite had no 20 ms for this one look: a machine that has other things to do
      if (answer.database.problem?.startsWith('NO_ANSWER') !== true) return { ...answer, log: await log() };
    }
  } finally {
    await engine(['rm', '--force', id]);
  }
}

describe('the image', () => {
  test('is small, runs without root, stops by SIGTERM and reports its health', async () => {
    const [image] = JSON.parse(await engine(['image', 'inspect', MODELGATE])) as [
      {
        Size: number;
        Healthcheck?: { Test: string[] };
        Config: { User: string; StopSignal: string; Labels: Record<string, string>; Healthcheck?: { Test: string[] } };
      },
    ];
    console.log(`the image has ${Math.round(image.Size / 1e6)} MB`);
    expect(image.Size).toBeLessThan(200e6);
    expect(image.Config.User).toBe('10001:0');
    expect(image.Config.StopSignal).toBe('SIGTERM');
    // podman and Docker keep it in different places
    expect((image.Healthcheck ?? image.Config.Healthcheck)?.Test.slice(0, 2)).toEqual(['CMD', 'node']);
    expect(image.Config.Labels).toMatchObject({
      'org.opencontainers.image.title': 'modelgate',
      'org.opencontainers.image.licenses': 'MIT',
    });
  });

  test('holds Node, the libraries that it loads, and no shell, npm, compiler or development package', async () => {
    expect(await inside("require('node:fs').readdirSync('/usr/local/bin').sort().join()")).toBe('modelgate,node');
    expect(await inside("require('node:fs').readdirSync('/usr/bin').join()")).toBe('env');
    const has = (path: string) => inside(`require('node:fs').existsSync('${path}')`);
    for (const path of [
      '/bin/sh',
      '/usr/bin/sh',
      '/usr/local/lib/node_modules',
      '/app/node_modules/vitest',
      '/app/test',
    ]) {
      expect([path, await has(path)]).toEqual([path, 'false']);
    }
  });

  test('has read all its TypeScript when it was built: a start reads what is kept, and keeps nothing new', async () => {
    const said = await runOnce(variables({ NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }), ['serve']);
    const log = said.stderr + said.stdout;
    expect(log).toContain('retrieving transpile cache for StrippedTypeScript file:///app/src/cli/program.ts');
    expect(log).not.toMatch(/Cannot create cache|[Cc]reating temporary file/);
  });

  test('names the versions that the checkout names', async () => {
    const read = (name: string) => JSON.parse(readFileSync(join(ROOT, name), 'utf8')) as unknown;
    const { version } = read('package.json') as { version: string };
    const lock = read('package-lock.json') as { packages: Record<string, { version: string }> };
    expect(await inside('process.versions.node')).toBe(lock.packages['node_modules/node']?.version);
    expect((await runOnce([], ['--version'])).stdout.trim()).toBe(version);
    const label = '{{index .Config.Labels "org.opencontainers.image.version"}}';
    expect(await engine(['image', 'inspect', '--format', label, MODELGATE])).toBe(version);
    for (const file of ['docker-compose.yml', 'docker-compose.modelgate.yml']) {
      expect(readFileSync(join(ROOT, file), 'utf8')).toContain(`image: modelgate:${version}`);
    }
  });

  test('every command of the gate is at hand', async () => {
    expect((await runOnce([], ['--help'])).stdout).toContain('doctor');
  });
});

describe('says in one sentence', () => {
  test('which setting is wrong', async () => {
    const { code, stderr } = await runOnce(variables({ ...SETTINGS, MODELGATE_DRAIN_TIMEOUT: 'soon' }));
    expect(code).toBe(2);
    expect(stderr).toContain('There is 1 mistake');
    expect(stderr).toMatch(/MODELGATE_DRAIN_TIMEOUT.*: found "soon"/);
  });

  test('that the volume is missing', async () => {
    const { ready, database, log } = await readiness([]);
    expect(ready).toBe(false);
    expect(database.problem).toContain('there is no file at /app/backend/data/webui.db');
    expect(log).toContain('there is no file at /app/backend/data/webui.db');
  });

  test.runIf(process.getuid?.() === 0).each([
    [
      "that SQLite's own mode keeps it from writing",
      { uid: 0, gid: 0, folder: 0o755, file: 0o644 },
      /SQLITE_READONLY.*belongs to 0:0 with mode 644, its folder belongs to 0:0 with mode 755, this process is 10001:0/,
    ],
    [
      'that the file belongs to another user',
      { uid: 1000, gid: 1000, folder: 0o755, file: 0o600 },
      /SQLITE_CANTOPEN.*belongs to 1000:1000 with mode 600.*this process is 10001:0/,
    ],
  ])('%s', async (_, owner, sentence) => {
    const { ready, database, log } = await readiness(['--volume', `${dataFolder(owner)}:/app/backend/data`]);
    expect(ready).toBe(false);
    expect(database.problem).toMatch(sentence);
    expect(log).toMatch(sentence);
  });

  test('that the volume is mounted read-only', async () => {
    const folder = dataFolder({ uid: 0, gid: 0, folder: 0o775, file: 0o660 });
    const { database } = await readiness(['--volume', `${folder}:/app/backend/data:ro`]);
    expect(database.problem).toMatch(/the file system is mounted read-only/);
  });
});

test.runIf(process.getuid?.() === 0).each([
  ['root', '10001:0', { uid: 0, gid: 0, folder: 0o770, file: 0o660 }],
  ['user and group 1000', '10001:1000', { uid: 1000, gid: 1000, folder: 0o770, file: 0o660 }],
])('beside a backend that runs as %s the gate makes its tables', async (_, user, owner) => {
  const { database } = await readiness(['--user', user, '--volume', `${dataFolder(owner)}:/app/backend/data`]);
  expect(database).toMatchObject({ readable: true, missing: [], problem: null });
});

test.runIf(process.getuid?.() === 0)(
  'the doctor is content with a file that two users share by its group',
  async () => {
    const folder = dataFolder({ uid: 0, gid: 0, folder: 0o770, file: 0o660 });
    const { stdout } = await runOnce(
      ['--volume', `${folder}:/app/backend/data`, ...variables(SETTINGS)],
      ['doctor', '--all'],
    );
    expect(stdout).toContain('Only user 0 and group 0 may open the file.');
  },
);

test.each(['10001:0', '10001:1000'])(
  'a new volume for the ledger can be written by user %s, and stays',
  async (user) => {
    const volume = `modelgate-test-${process.pid}-${user.replace(':', '-')}`;
    const started = (script: string) =>
      runOnce(
        ['--user', user, '--volume', `${volume}:/var/lib/modelgate`, '--entrypoint', 'node'],
        ['--print', script],
      );
    try {
      const script = "require('better-sqlite3')('/var/lib/modelgate/usage.db')";
      await started(
        `${script}.exec('PRAGMA journal_mode = WAL; CREATE TABLE kept (word); INSERT INTO kept VALUES (7)')`,
      );
      expect((await started(`${script}.prepare('SELECT word FROM kept').pluck().all().join()`)).stdout.trim()).toBe(
        '7',
      );
      const { stdout } = await started("require('node:fs').statSync('/var/lib/modelgate').mode.toString(8)");
      expect(stdout.trim()).toBe('40700');
    } finally {
      await run(ENGINE, ['volume', 'rm', '--force', volume]);
    }
  },
);
