import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Call } from '../../../src/usage/call.ts';
import { type Ledger, createLedger } from '../../../src/usage/ledger.ts';
import { callsIn, readUsage } from '../../support/database/usage.ts';
import { describeLedger } from '../../support/usage/ledger-behaviour.ts';
import { DAY_MS, NO_BUDGET, OPENED, chargeOf, endingOf, sampleCall } from '../../support/usage/sample-calls.ts';

let directory: string;
let path: string;
let warnings: string[];
let ledger: Ledger;

const openLedger = (options: Partial<Parameters<typeof createLedger>[0]> = {}): Ledger =>
  createLedger({
    ...{ path, keepMs: 400 * DAY_MS, whenDown: 'refuse', patienceMs: 1_000, ...options },
    warn: (message) => warnings.push(message),
  });

const callOf = (more: Partial<Call> = {}): Call => sampleCall({ instance: ledger.instance, ...more });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-ledger-'));
  path = join(directory, 'usage.db');
  warnings = [];
  ledger = openLedger();
  await ledger.beat();
});

afterEach(async () => {
  await ledger.close();
  rmSync(directory, { recursive: true, force: true });
});

describeLedger(() => {
  const folder = mkdtempSync(join(tmpdir(), 'modelgate-ledger-'));
  const file = join(folder, 'usage.db');
  return {
    place: { path: file },
    connect: () => new Database(file),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe('a file that cannot be written', () => {
  test('refuses calls after what they wait, and takes them again when the lock is gone; what runs is counted late', async () => {
    const running = callOf();
    await ledger.open(running, NO_BUDGET);
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const refused = callOf();
    await expect(ledger.open(refused, NO_BUDGET)).rejects.toMatchObject({ code: 'ledger_unavailable', status: 503 });
    const late = ledger.settle(running, endingOf(), []);
    expect(await late).toBeUndefined();
    await expect.poll(() => ledger.problem).toBeDefined();
    holder.exec('ROLLBACK');
    holder.close();
    await expect.poll(() => callsIn(path).find(({ id }) => id === running.id)?.state).toBe('closed');
    await expect.poll(() => callsIn(path).find(({ id }) => id === refused.id)?.state).toBe('failed');
    expect(await ledger.open(callOf(), NO_BUDGET)).toEqual(OPENED);
    const notYet = 'usage that the ledger does not have yet';
    // what the file answers and how long a call waits end at about the same time
    expect(warnings.slice(0, 2).toSorted()).toEqual(['the ledger cannot be written', notYet]);
    expect(warnings.slice(2)).toEqual(['the ledger can be written again']);
  });

  test('holds up nothing that is found out later: a gate that stops waits for that', async () => {
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    expect(await Promise.all([ledger.unresolved(1), ledger.tried('a'), ledger.resolve('a', {})])).toEqual([
      [],
      undefined,
      undefined,
    ]);
    expect(await ledger.unresolved(1)).toEqual([]);
    holder.close();
  });

  test('lets calls pass where it may, and writes them when it can', async () => {
    await ledger.close();
    ledger = openLedger({ whenDown: 'pass' });
    await ledger.beat();
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const call = callOf();
    expect(await ledger.open(call, NO_BUDGET)).toEqual({ kind: 'unwritten' });
    await ledger.settle(call, endingOf(), []);
    holder.exec('ROLLBACK');
    holder.close();
    await expect.poll(() => callsIn(path)[0]?.state).toBe('closed');
  });

  test('lets calls pass that a budget would have refused, and counts them all the same', async () => {
    await ledger.close();
    ledger = openLedger({ whenDown: 'pass' });
    await ledger.beat();
    const charges = [chargeOf({ measure: 'requests', amount: 0 })];
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const [ran, gone] = [callOf(), callOf()];
    for (const call of [ran, gone])
      expect(await ledger.open(call, { ...NO_BUDGET, charges })).toEqual({ kind: 'unwritten' });
    await ledger.settle(ran, endingOf(), charges);
    await ledger.settle(gone, endingOf({ state: 'failed', usage: undefined }), charges);
    expect(warnings).toContain('usage that the ledger does not have yet');
    holder.exec('ROLLBACK');
    holder.close();
    const stateOf = ({ id }: Call) => callsIn(path).find((row) => row.id === id)?.state;
    await expect.poll(() => [ran, gone].map(stateOf)).toEqual(['closed', 'refused']);
    expect(readUsage(path, 'SELECT sum(requests) AS n, sum(cost_nano) AS cost FROM usage_slot')).toEqual([
      { n: 1, cost: 5_000 },
    ]);
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 1, reserved: 0 }]);
  });

  test('lets calls pass when more wait than it keeps, and the log has what they use', async () => {
    await ledger.close();
    ledger = openLedger({ whenDown: 'pass' });
    await ledger.beat();
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const fill = () => {
      for (let at = ledger.counts.backlog; at < 20_000; at++) ledger.note('none', 'none');
    };
    fill();
    // what was being written before is done then
    await expect.poll(() => ledger.problem).toBeDefined();
    fill();
    const call = callOf();
    expect(await ledger.open(call, NO_BUDGET)).toEqual({ kind: 'unwritten' });
    expect(await ledger.settle(call, endingOf(), [])).toBeUndefined();
    expect(warnings).toContain('usage that is in no ledger');
    holder.exec('ROLLBACK');
    holder.close();
  });

  test('whose log of commits is deleted loses no call', async () => {
    const [before, after] = [callOf(), callOf()];
    await ledger.open(before, NO_BUDGET);
    for (const companion of ['-wal', '-shm']) rmSync(`${path}${companion}`);
    await ledger.open(after, NO_BUDGET);
    for (const call of [before, after]) await ledger.settle(call, endingOf(), []);
    expect(callsIn(path)).toMatchObject([{ state: 'closed' }, { state: 'closed' }]);
  });

  test('that is deleted while a call runs reserves no less than nothing for it', async () => {
    const charges = [chargeOf({ measure: 'requests', amount: 9 })];
    const [running, next] = [callOf(), callOf()];
    await ledger.open(running, { ...NO_BUDGET, charges });
    for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
    await ledger.open(next, { ...NO_BUDGET, charges });
    for (const call of [running, next]) await ledger.settle(call, endingOf(), charges);
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 2, reserved: 0 }]);
  });

  test('that is deleted is made again, and no call that runs is lost', async () => {
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
    await ledger.settle(call, endingOf(), []);
    expect(callsIn(path)).toMatchObject([{ id: call.id, state: 'closed', cost_nano: 5_000 }]);
    expect(warnings).toEqual(['usage.db was deleted or replaced: a new one goes on']);
  });

  test('whose volume is not there refuses, and says why', async () => {
    await ledger.close();
    path = join(directory, 'missing', 'state', 'usage.db');
    ledger = openLedger();
    await expect(ledger.open(callOf(), NO_BUDGET)).rejects.toMatchObject({ code: 'ledger_unavailable' });
    expect(ledger.problem?.problem).toMatch(/ENOENT|SQLITE_CANTOPEN/);
  });

  test.each([
    ['is no database', (): void => writeFileSync(path, 'no database '.repeat(100)), /^Bring a copy of usage\.db back/],
    ['is a folder', (): void => mkdirSync(path), /^Make room .*, or let this user write/],
  ])('that %s has its own remedy', async (_is, replace, remedy) => {
    await ledger.close();
    for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
    replace();
    ledger = openLedger();
    await expect.poll(() => ledger.problem?.remedy).toMatch(remedy);
  });
});
