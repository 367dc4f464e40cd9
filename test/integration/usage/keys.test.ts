import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createOrganizationKeys } from '../../../src/usage/keys.ts';
import { openUsageFile } from '../../../src/usage/schema.ts';
import type { Connection } from '../../../src/store/database.ts';

const SECRET = 'seals-the-keys-of-organizations-32';
const KEY = 'sk-or-v1-0123456789abcdef-of-acme';
const HOST = 'openrouter.ai';

let directory: string;
let connection: Connection;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-keys-'));
  connection = openUsageFile(join(directory, 'state', 'usage.db'), 1_000);
});
afterEach(() => {
  connection.close();
  rmSync(directory, { recursive: true });
});

const keysWith = (secret: string | undefined) => createOrganizationKeys(connection, secret);

test('the ledger and its folder are made for this user alone', () => {
  expect(statSync(join(directory, 'state')).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, 'state', 'usage.db')).mode & 0o777).toBe(0o600);
});

describe('a key of an organization', () => {
  test('is there for this organization and this provider alone', () => {
    const keys = keysWith(SECRET);
    keys.set('acme', HOST, KEY, 1);
    expect(keys.open('acme', HOST)).toEqual({ kind: 'key', key: KEY });
    expect(keys.open('globex', HOST)).toEqual({ kind: 'none' });
    expect(keys.open('acme', 'api.openai.com')).toEqual({ kind: 'none' });
  });

  test('is read after a restart with the same secret', () => {
    keysWith(SECRET).set('acme', HOST, KEY, 1);
    expect(keysWith(SECRET).open('acme', HOST)).toEqual({ kind: 'key', key: KEY });
  });

  test('is listed by its last four characters and the time when it was set', () => {
    const keys = keysWith(SECRET);
    keys.set('acme', HOST, KEY, 1_764_000_000_000);
    keys.set('acme', 'api.openai.com', 'sk-short', 2);
    expect(keys.list()).toEqual([
      { organization: 'acme', provider: 'api.openai.com', endsWith: '', setAt: 2, opens: true },
      { organization: 'acme', provider: HOST, endsWith: 'acme', setAt: 1_764_000_000_000, opens: true },
    ]);
  });

  test('that is changed, taken away or set again by another process is so at the next call', () => {
    const keys = keysWith(SECRET);
    const other = openUsageFile(join(directory, 'state', 'usage.db'), 1_000);
    const theirs = createOrganizationKeys(other, SECRET);
    theirs.set('acme', HOST, KEY, 1);
    expect(keys.open('acme', HOST)).toEqual({ kind: 'key', key: KEY });
    theirs.set('acme', HOST, `${KEY}-new`, 2);
    expect(keys.open('acme', HOST)).toEqual({ kind: 'key', key: `${KEY}-new` });
    expect(theirs.remove('acme', HOST)).toBe(true);
    expect(theirs.remove('acme', HOST)).toBe(false);
    expect(keys.open('acme', HOST)).toEqual({ kind: 'none' });
    theirs.set('acme', HOST, KEY, 3);
    expect(keys.open('acme', HOST)).toEqual({ kind: 'key', key: KEY });
    other.close();
  });

  test('is sealed, and not absent, with another secret and without one', () => {
    keysWith(SECRET).set('acme', HOST, KEY, 1);
    for (const [secret, why] of [
      [`${SECRET}-another`, /MODELGATE_KEYS_SECRET is another one/],
      [undefined, /MODELGATE_KEYS_SECRET is not set/],
    ] as const) {
      const opened = keysWith(secret).open('acme', HOST);
      expect(opened).toEqual({ kind: 'sealed', why: expect.stringMatching(why) as string });
      expect(keysWith(secret).list()).toMatchObject([{ organization: 'acme', opens: false }]);
    }
  });
});
