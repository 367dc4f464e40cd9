import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { prepareRestoration } from '../../../src/upkeep/restore.ts';
import { type TestDatabase, ERAS, createDatabase, foreign, written } from '../../support/database/database.ts';
import { openOtherProcess } from '../../support/process/other-process.ts';
import { startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const NOW = new Date(2026, 0, 31, 3, 0, 0);

interface Bed extends Disposable {
  /** Holds user `new` alone; closed, so that no process has it open. */
  readonly path: string;
  readonly directory: string;
  /** A backup that holds user `old` alone. */
  readonly backup: string;
  readonly database: TestDatabase;
}

/** A database in use until a moment ago, and a backup of another folder. */
function bed(era: '0.6.18' | '0.12.4' = '0.12.4'): Bed {
  const database = createDatabase({ era });
  database.addUser({ id: 'new' });
  database.sql.close();
  const old = createDatabase({ era });
  old.addUser({ id: 'old' });
  old.sql.close();
  return {
    path: database.path,
    directory: database.directory,
    backup: old.path,
    database,
    [Symbol.dispose]() {
      database.close();
      old.close();
    },
  };
}

type RestoreOptions = Parameters<typeof prepareRestoration>[0];

const said: string[] = [];
const prepare = (path: string, file: string, more: Partial<RestoreOptions> = {}) =>
  prepareRestoration({
    path,
    file,
    backend: undefined,
    now: NOW,
    signal: new AbortController().signal,
    say: (sentence) => void said.push(sentence),
    onStep: () => undefined,
    ...more,
  });
async function restore(path: string, file: string, more: Partial<RestoreOptions> = {}): Promise<string | null> {
  const restoration = await prepare(path, file, more);
  try {
    return (await restoration.putInPlace()).replaced;
  } finally {
    restoration.discard();
  }
}

function usersOf(path: string): unknown {
  const connection = new Database(path, { readonly: true });
  try {
    expect(connection.pragma('integrity_check', { simple: true })).toBe('ok');
    return connection.prepare('SELECT id FROM "user" ORDER BY id').pluck().all();
  } finally {
    connection.close();
  }
}
const compressed = (path: string, to: string): string => {
  writeFileSync(to, gzipSync(readFileSync(path)));
  return to;
};

describe.each(ERAS)('restoring a database of %s', (era) => {
  test.each(['plain', 'compressed'])('from a %s backup, whatever its name, keeps what it replaces', async (kind) => {
    using world = bed(era);
    const file = join(world.directory, 'a name that says nothing');
    if (kind === 'plain') copyFileSync(world.backup, file);
    else compressed(world.backup, file);
    const kept = await restore(world.path, file);
    expect(kept).toBe(`${world.path}.replaced.20260131_030000`);
    expect(usersOf(world.path)).toEqual(['old']);
    expect(usersOf(kept!)).toEqual(['new']);
    expect(readdirSync(world.directory).filter((name) => name.includes('modelgate-'))).toEqual([]);
  });

  test('is refused while another process has it open, even where that one does nothing', async () => {
    using world = bed(era);
    await using other = await openOtherProcess();
    await other.run(world.path, 'SELECT 1 FROM "user"');
    const before = readFileSync(world.path);
    await expect(restore(world.path, world.backup)).rejects.toThrow(
      /is in use by process \d+ \(.*node.*\)\. Nothing was changed\. Stop the backend and the gate first/,
    );
    expect(readFileSync(world.path).equals(before)).toBe(true);
    await other.release(world.path);
    await restore(world.path, world.backup);
    expect(usersOf(world.path)).toEqual(['old']);
  });

  test('is refused where another process has opened it after the first look', async () => {
    using world = bed(era);
    const restoration = await prepare(world.path, world.backup);
    await using other = await openOtherProcess();
    await other.run(world.path, 'SELECT 1 FROM "user"');
    await expect(restoration.putInPlace()).rejects.toThrow(/is in use/);
    restoration.discard();
    expect(readdirSync(world.directory).filter((name) => /replaced|modelgate-/.test(name))).toEqual([]);
  });
});

describe('what the old database had not yet written into its file', () => {
  test('is kept with it: a log that a killed backend has left', async () => {
    using world = bed();
    const live = new Database(world.path);
    live.exec(`INSERT INTO "user" ${sameUserAs('in the log', live)}`);
    const killed = join(world.directory, 'killed.db');
    for (const companion of ['', '-wal']) copyFileSync(`${world.path}${companion}`, `${killed}${companion}`);
    live.close();
    expect(statSync(`${killed}-wal`).size).toBeGreaterThan(0);
    const kept = await restore(killed, world.backup);
    expect(usersOf(killed)).toEqual(['old']);
    // the file alone, as an operator would copy it back
    expect(existsSync(`${killed}-wal`) && statSync(`${killed}-wal`).size > 0).toBe(false);
    const alone = join(world.directory, 'alone.db');
    copyFileSync(kept!, alone);
    expect(usersOf(alone)).toEqual(['in the log', 'new']);
  });

  test('and a backup with a log of its own is restored with it', async () => {
    using world = bed();
    const source = new Database(world.backup);
    source.exec(`UPDATE "user" SET id = 'from the log'`);
    const copy = join(world.directory, 'copied.db');
    for (const companion of ['', '-wal']) copyFileSync(`${world.backup}${companion}`, `${copy}${companion}`);
    source.close();
    const before = readFileSync(`${copy}-wal`);
    await restore(world.path, copy);
    expect(usersOf(world.path)).toEqual(['from the log']);
    expect(readFileSync(`${copy}-wal`).equals(before)).toBe(true);
  });
});

/** The only user once more, under another id. */
function sameUserAs(id: string, connection: Database.Database): string {
  const names = connection.prepare<[], string>(`SELECT name FROM pragma_table_info('user')`).pluck().all();
  const values = names.map((name) => (name === 'id' || name === 'email' ? `'${id}'` : `"${name}"`));
  return `SELECT ${values.join(', ')} FROM "user"`;
}

describe('the restored file', () => {
  test('has the owner and the mode of the old one', async () => {
    using world = bed();
    chmodSync(world.path, 0o640);
    if (process.getuid?.() === 0) chownSync(world.path, 65534, 65534);
    const { uid, gid } = statSync(world.path);
    await restore(world.path, world.backup);
    expect(statSync(world.path)).toMatchObject({ uid, gid });
    expect(statSync(world.path).mode & 0o777).toBe(0o640);
  });

  test('has the owner of the folder, and is for him alone, where there was none', async () => {
    using world = bed();
    rmSync(world.path);
    writeFileSync(`${world.path}-wal`, 'a log of nothing');
    if (process.getuid?.() === 0) chownSync(world.directory, 65534, 65534);
    expect(await restore(world.path, world.backup)).toBeNull();
    expect(statSync(world.path)).toMatchObject({ uid: statSync(world.directory).uid });
    expect(statSync(world.path).mode & 0o777).toBe(0o600);
    expect(usersOf(world.path)).toEqual(['old']);
    expect(readFileSync(`${world.path}.replaced.20260131_030000-wal`, 'utf8')).toBe('a log of nothing');
  });

  test('stands where a link points to, and the link stays', async () => {
    using world = bed();
    const link = join(world.directory, 'link.db');
    symlinkSync(world.path, link);
    await restore(link, world.backup);
    expect(readlinkSync(link)).toBe(world.path);
    expect(usersOf(world.path)).toEqual(['old']);
  });

  test('replaces a damaged one, which is kept with its log as it is', async () => {
    using world = bed();
    writeFileSync(world.path, 'no database at all, which is why it is replaced');
    writeFileSync(`${world.path}-wal`, 'its log');
    said.length = 0;
    const kept = await restore(world.path, world.backup);
    expect(usersOf(world.path)).toEqual(['old']);
    expect(readFileSync(kept!, 'utf8')).toMatch(/^no database/);
    expect(readFileSync(`${kept!}-wal`, 'utf8')).toBe('its log');
    expect(said.join()).toMatch(/is damaged \(SQLITE_NOTADB\)/);
  });
});

describe('a backup that is not good', () => {
  const cases: [string, (world: Bed) => string, RegExp][] = [
    ['cut off', ({ directory, backup }) => cut(compressed(backup, join(directory, 'a.gz'))), /cut off or damaged/],
    [
      'compressed text',
      ({ directory }) => written(join(directory, 'a.gz'), gzipSync('text')),
      /holds no SQLite database/,
    ],
    ['text', ({ directory }) => written(join(directory, 'a.db'), 'text'), /neither a SQLite database nor one in gzip/],
    ['empty', ({ directory }) => written(join(directory, 'a.db'), ''), /neither a SQLite database nor one in gzip/],
    [
      'a database of something else',
      ({ directory }) => foreign(directory),
      /is a SQLite database, but not one of Open WebUI/,
    ],
    [
      'damaged inside',
      ({ directory, backup }) => damaged(backup, join(directory, 'a.db')),
      /is damaged.*Take another backup/,
    ],
    ['a folder', ({ directory }) => directory, /is no file/],
    ['not there', ({ directory }) => join(directory, 'nowhere.db.gz'), /There is no file at/],
    ['the database itself', ({ path }) => path, /is the database itself/],
  ];
  test.each(cases)('(%s) is refused with a sentence, and nothing is touched', async (_what, make, sentence) => {
    using world = bed();
    const file = make(world);
    const before = readFileSync(world.path);
    const names = readdirSync(world.directory);
    await expect(restore(world.path, file)).rejects.toThrow(sentence);
    await expect(restore(world.path, file)).rejects.toThrow('Nothing was changed.');
    expect(readFileSync(world.path).equals(before)).toBe(true);
    expect(readdirSync(world.directory)).toEqual(names);
  });

  test('because another process is still writing it is refused', async () => {
    using world = bed();
    const holder = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', openSync(world.backup, 'r')] });
    try {
      await expect(restore(world.path, world.backup)).rejects.toThrow(/is open in process \d+ \(sleep 60\)/);
    } finally {
      const ended = once(holder, 'exit');
      holder.kill('SIGKILL');
      await ended;
    }
  });
});

describe('a backend that answers', () => {
  test('is proof enough that the database is used', async () => {
    using world = bed();
    const server = await startRecordingUpstream();
    const backend = new URL(server.origin);
    await expect(restore(world.path, world.backup, { backend })).rejects.toThrow(
      /The backend at http:\/\/127\.0\.0\.1:\d+ answers \(status 200\), so it is running\. Nothing was changed\. Stop the backend and the gate/,
    );
    await server.close();
    await restore(world.path, world.backup, { backend });
    expect(usersOf(world.path)).toEqual(['old']);
  });

  test('with 502 is a proxy without a backend', async () => {
    using world = bed();
    await using server = await startRecordingUpstream((_incoming, outgoing) => outgoing.writeHead(502).end());
    await restore(world.path, world.backup, { backend: new URL(server.origin) });
    expect(usersOf(world.path)).toEqual(['old']);
  });
});

test('a name that a killed restore has given to the current database is taken away by the next one', async () => {
  using world = bed();
  linkSync(world.path, `${world.path}.replaced.20250101_000000`);
  await restore(world.path, world.backup);
  expect(readdirSync(world.directory).filter((name) => name.includes('replaced'))).toEqual([
    'webui.db.replaced.20260131_030000',
  ]);
});

const cut = (path: string): string => written(path, readFileSync(path).subarray(0, 5_000));
function damaged(backup: string, path: string): string {
  const connection = new Database(backup);
  const root = Number(connection.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'chat'").pluck().get());
  connection.close();
  const bytes = readFileSync(backup);
  bytes.fill(0xee, (root - 1) * 4096, root * 4096);
  return written(path, bytes);
}
