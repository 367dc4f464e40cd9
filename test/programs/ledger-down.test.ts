/**
 * What may become of `usage.db`, on a small disk of its own: whatever the provider ran is in it when it can be written again,
 * and no gate has to be started anew. Mounting takes root.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { callsIn } from '../support/database/usage.ts';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../support/gate/provider-door.ts';
import { until } from '../support/process/with-timeout.ts';
import { startMeteredProvider } from '../support/upstream/metered-provider.ts';

interface Disk {
  readonly folder: string;
  readonly file: string;
}

/** Longer than SQLite, and than a call, waits for the lock. */
const HELD_MS = 10_000;
const LOCKED = `is locked by another process for ${HELD_MS / 1_000} s`;

/** Breaks it. @returns what mends it */
type Fault = (disk: Disk) => () => void;

const COMPANIONS = ['', '-wal', '-shm'];

/** In one step, so that nothing can be written into a file that is on its way out. */
function choose(folder: string, name: string): void {
  symlinkSync(name, join(folder, 'next'));
  renameSync(join(folder, 'next'), join(folder, 'state'));
}

const put = ({ folder }: Disk, instead: (file: string) => void): (() => void) => {
  mkdirSync(join(folder, 'bad'));
  instead(join(folder, 'bad/usage.db'));
  choose(folder, 'bad');
  // what was there before comes back, as from a backup
  return () => choose(folder, 'good');
};

const FAULTS: Readonly<Record<string, Fault>> = {
  [LOCKED]({ file }) {
    const holder = new Database(file);
    holder.exec('BEGIN IMMEDIATE');
    return () => void holder.close();
  },
  'is on a full disk'({ folder }) {
    const ballast = join(folder, 'ballast');
    for (const bytes of [65_536, 4_096, 1]) {
      try {
        for (;;) writeFileSync(ballast, Buffer.alloc(bytes), { flag: 'a' });
      } catch {
        // ENOSPC
      }
    }
    return () => rmSync(ballast);
  },
  'is read-only': (disk) =>
    put(disk, (file) => {
      writeFileSync(file, '');
      execFileSync('chattr', ['+i', file]);
    }),
  'is a directory': (disk) => put(disk, (file) => mkdirSync(file)),
  'is garbage': (disk) => put(disk, (file) => writeFileSync(file, 'no database at all'.repeat(1_000))),
};

async function start(whenDown: string) {
  const provider = await startMeteredProvider();
  const folder = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', folder]);
  mkdirSync(join(folder, 'good'));
  choose(folder, 'good');
  const door = await startTestDoor({
    MODELGATE_PROVIDERS: provider.url,
    MODELGATE_STATE_DIR: join(folder, 'state'),
    MODELGATE_USAGE_WHEN_DOWN: whenDown,
  });
  onTestFinished(async () => {
    await door[Symbol.asyncDispose]();
    await provider.close();
    execFileSync('umount', ['--lazy', folder]);
    rmdirSync(folder);
  });
  return { door, provider, disk: { folder, file: join(folder, 'state/usage.db') } };
}

function ask(door: TestDoor, origin: string, path: string, body?: object): Promise<Response> {
  return fetch(`${door.url}/${origin.replace('http://', '')}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...{ authorization: `Bearer ${ACCESS_KEY}`, 'content-type': 'application/json', 'x-openwebui-user-id': 'ann' },
    },
    ...(body && { body: JSON.stringify(body) }),
  });
}

const MODES = ['refuse', 'pass'];
const CASES = Object.keys(FAULTS).flatMap((what) => MODES.map((how) => [what, how] as const));

test.each(CASES)('that %s, with %s', { timeout: 60_000 }, async (what, whenDown) => {
  const { door, provider, disk } = await start(whenDown);
  const chat = async () => {
    const answer = await ask(door, provider.url, '/chat/completions', { model: 'A', messages: [] });
    return { status: answer.status, retry: answer.headers.get('retry-after'), text: await answer.text() };
  };
  expect((await chat()).status).toBe(200);
  const mend = FAULTS[what]?.(disk);
  const mendAt = performance.now() + (what === LOCKED ? HELD_MS : 0);
  const answers = await Promise.all(Array.from({ length: 20 }, chat));
  do {
    answers.push(await chat());
    await sleep(100);
  } while (performance.now() < mendAt);
  if (whenDown === 'pass') expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  else {
    expect(new Set(answers.map(({ status, retry }) => `${status} ${retry}`))).toEqual(new Set(['503 2']));
    expect(answers[0]?.text).toContain('Usage cannot be recorded at the moment. Try again shortly.');
  }
  expect((await ask(door, provider.url, '/models')).status).toBe(200);
  expect(door.ledger.problem).toBeDefined();
  const ran = provider.charged.map(({ request }) => request);
  expect(ran).toHaveLength(whenDown === 'pass' ? 1 + answers.length : 1);
  if (whenDown === 'pass') {
    const logged = JSON.stringify(door.lines.filter(({ msg }) => msg === 'usage that the ledger does not have yet'));
    expect(ran.slice(1).filter((id) => !logged.includes(id))).toEqual([]);
  }
  mend?.();
  await until(async () => (await chat()).status === 200, 20_000, 'calls to be taken again');
  await until(() => door.ledger.counts.backlog === 0, 20_000, 'all to be written');
  const rows = callsIn(disk.file);
  const wrong = provider.charged.filter(({ request, input, output, costNano }) => {
    const row = rows.find(({ id }) => id === request);
    return row?.state !== 'closed' || row.input !== input || row.output !== output || row.cost_nano !== costNano;
  });
  expect(wrong).toEqual([]);
  expect(door.ledger.problem).toBeUndefined();
});

test.each(MODES)(
  'that is deleted again and again, with %s, counts each call',
  { timeout: 60_000 },
  async (whenDown) => {
    const { door, provider, disk } = await start(whenDown);
    for (let turn = 0; turn < 5; turn++) {
      const answer = await ask(door, provider.url, '/chat/completions', { model: 'A', messages: [] });
      expect(answer.status).toBe(200);
      await answer.text();
      expect(callsIn(disk.file).map(({ id }) => id)).toEqual([provider.charged.at(-1)?.request]);
      for (const suffix of COMPANIONS) rmSync(disk.file + suffix, { force: true });
      await sleep(10);
    }
  },
);
