/** `modelgate backup` takes the ledger of the provider door along, and `modelgate restore` puts it back. */
import { copyFileSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { createDatabase } from '../../support/database/database.ts';
import { usageOfTest } from '../../support/database/settled-calls.ts';
import { askCommand, runCommand } from '../../support/process/command.ts';
import { openOtherProcess } from '../../support/process/other-process.ts';
import { startRecordingUpstream } from '../../support/upstream/upstreams.ts';

interface Made {
  readonly path: string;
  readonly ledger: { readonly path: string; readonly calls: number } | null;
}

/** A backend's file, a ledger with calls, and what the settings of the gate say. */
function bed() {
  const database = createDatabase();
  database.addUser({ id: 'old' });
  const { path, connection, settle } = usageOfTest();
  const environment = { MODELGATE_USAGE_DATABASE: path };
  const backups = join(database.directory, 'backups');
  const on = (...words: string[]) => [...words, '--database', database.path];
  const callsIn = (file: string) => {
    const opened = new Database(file, { readonly: true });
    try {
      expect(opened.pragma('integrity_check', { simple: true })).toBe('ok');
      return Number(opened.prepare('SELECT count(*) FROM usage_request').pluck().get());
    } finally {
      opened.close();
    }
  };
  return {
    ...{ database, ledger: path, environment, settle, on, callsIn },
    backUp: (...words: string[]) => askCommand<Made>(on('backup', backups, ...words), { environment }),
    restore: <T>(file: string, ...words: string[]) =>
      askCommand<T>(on('restore', file, '--yes', ...words), { environment }),
    /** As a gate and a backend that have been stopped. */
    close(): void {
      connection.close();
      database.sql.close();
    },
    [Symbol.dispose]: () => database.close(),
  };
}

const CALL = { at: '2026-01-30T12:00:00Z', input: 1, inputCached: 0, output: 2, outputReasoning: 0 };

describe('a backup of a gate with a provider door', () => {
  test('is two files, and both are put back; what is replaced is kept', async () => {
    using world = bed();
    world.settle(CALL, CALL);
    const made = await world.backUp();
    expect(made.ledger).toMatchObject({ path: made.path.replace('webui_', 'usage_'), calls: 2 });
    world.database.addUser({ id: 'new' });
    world.settle(CALL);
    world.close();
    const done = await world.restore<{ users: number; ledger: Record<string, unknown> }>(made.path);
    expect(done).toMatchObject({ users: 1, ledger: { restored: world.ledger, from: made.ledger?.path, calls: 2 } });
    expect(readdirSync(dirname(world.ledger)).filter((name) => /-(?:wal|shm)$/.test(name))).toEqual([]);
    expect(world.callsIn(world.ledger)).toBe(2);
    expect(world.callsIn(String(done.ledger['replaced']))).toBe(3);
  });

  test('leaves the ledger out where that is asked for, and puts back the database alone', async () => {
    using world = bed();
    world.settle(CALL);
    const { path } = await world.backUp();
    expect((await world.backUp('--no-ledger')).ledger).toBeNull();
    world.settle(CALL);
    world.close();
    expect(await world.restore(path, '--no-ledger')).toMatchObject({ users: 1, ledger: null });
    expect(world.callsIn(world.ledger)).toBe(2);
  });

  test('is one file where there is no ledger, and a new machine gets both back', async () => {
    using world = bed();
    world.settle(CALL);
    const { path } = await world.backUp();
    world.close();
    rmSync(world.ledger);
    expect((await world.backUp()).ledger).toBeNull();
    const environment = { MODELGATE_STATE_DIR: join(world.database.directory, 'state') };
    const words = world.on('restore', path, '--yes');
    const done = await askCommand<{ ledger: { restored: string; replaced: null } }>(words, { environment });
    expect(done.ledger).toMatchObject({ restored: join(environment.MODELGATE_STATE_DIR, 'usage.db'), replaced: null });
    expect(statSync(done.ledger.restored).mode & 0o777).toBe(0o600);
  });

  test('gives back the ledger alone, while the backend runs, and not while the gate does', async () => {
    using world = bed();
    world.settle(CALL);
    const { ledger } = await world.backUp();
    world.settle(CALL);
    world.close();
    await using backend = await startRecordingUpstream();
    const running = { MODELGATE_UPSTREAM_URL: backend.origin };
    await using gate = await openOtherProcess();
    await gate.run(world.ledger, 'SELECT 1 FROM usage_request');
    const words = world.on('restore', ledger?.path ?? '', '--yes');
    const refused = await runCommand(words, { environment: { ...world.environment, ...running } });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/usage\.db is in use by process \d+ .* Nothing was changed\. Stop/);
    expect(world.callsIn(world.ledger)).toBe(2);
    await gate.release(world.ledger);
    await askCommand(words, { environment: { ...world.environment, ...running } });
    expect(world.callsIn(world.ledger)).toBe(1);
  });

  test('of which the ledger is damaged is refused whole, and nothing is touched', async () => {
    using world = bed();
    world.settle(CALL);
    const { path, ledger } = await world.backUp();
    writeFileSync(ledger?.path ?? '', readFileSync(ledger?.path ?? '').subarray(0, 300));
    world.database.addUser({ id: 'new' });
    world.close();
    const before = readFileSync(world.database.path);
    const { code, stderr } = await runCommand(world.on('restore', path, '--yes'), { environment: world.environment });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /usage_\d{8}_\d{6}\.db\.gz cannot be unpacked: it is cut off or damaged .*Nothing was changed/,
    );
    expect(readFileSync(world.database.path).equals(before)).toBe(true);
    expect(readdirSync(world.database.directory).filter((name) => /replaced|modelgate-/.test(name))).toEqual([]);
  });

  test('of a usage.db that only begins with its name is no backup of a ledger', async () => {
    using world = bed();
    world.close();
    const words = world.on('restore', copied(world.database.path, 'usage-of-yesterday.db'), '--yes');
    const { code, stderr } = await runCommand(words, { environment: world.environment });
    expect(code).toBe(1);
    expect(stderr).toMatch(/usage-of-yesterday\.db is no ledger of modelgate: it has no table usage_request\./);
  });
});

function copied(path: string, name: string): string {
  const target = join(dirname(path), name);
  copyFileSync(path, target);
  return target;
}
