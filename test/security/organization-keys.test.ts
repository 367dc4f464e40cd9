/** Keys of organizations against who can read or write `usage.db`, and has no secret. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FileConnection } from '../../src/store/database.ts';
import { createOrganizationKeys } from '../../src/usage/keys.ts';
import { openUsageFile } from '../../src/usage/schema.ts';

const SECRET = 'seals-the-keys-of-organizations-32';
const KEY = 'sk-or-v1-0123456789abcdef-of-acme';
const HOST = 'openrouter.ai';

let directory: string;
let path: string;
let connection: FileConnection;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-keys-'));
  path = join(directory, 'usage.db');
  connection = openUsageFile(path, 1_000);
  createOrganizationKeys(connection, SECRET).set('acme', HOST, KEY, 1);
});
afterEach(() => {
  connection.close();
  rmSync(directory, { recursive: true });
});

const opened = (organization: string, provider = HOST) =>
  createOrganizationKeys(connection, SECRET).open(organization, provider);

const sealedOf = (organization: string): Buffer =>
  connection
    .prepare<[string], Buffer>('SELECT sealed FROM usage_key WHERE organization_id = ?')
    .pluck()
    .get(organization) ?? Buffer.alloc(0);

test.each([
  ['another organization', 'globex', HOST],
  ['another provider', 'acme', 'evil.example'],
  // what a separator between the two could not tell apart
  ['another border between organization and provider', 'acme","openrouter', 'ai'],
])('a sealed key that is copied to %s does not open', (_, organization, provider) => {
  connection
    .prepare(
      "INSERT INTO usage_key SELECT ?, ?, sealed, ends_with, set_at FROM usage_key WHERE organization_id = 'acme'",
    )
    .run(organization, provider);
  expect(opened('acme')).toEqual({ kind: 'key', key: KEY });
  expect(opened(organization, provider)).toMatchObject({ kind: 'sealed' });
});

test('a sealed key of which one bit is another does not open, wherever the bit stands', () => {
  const original = sealedOf('acme');
  const keys = createOrganizationKeys(connection, SECRET);
  const write = connection.prepare("UPDATE usage_key SET sealed = ? WHERE organization_id = 'acme'");
  for (let place = 0; place < original.length; place++) {
    const changed = Buffer.from(original);
    changed.writeUInt8(changed.readUInt8(place) ^ 1, place);
    write.run(changed);
    expect(keys.open('acme', HOST).kind, `byte ${place}`).toBe('sealed');
  }
  for (const length of [0, 1, 13, 28, 29, original.length - 1]) {
    write.run(original.subarray(0, length));
    expect(keys.open('acme', HOST).kind, `${length} bytes`).toBe('sealed');
  }
  write.run('a text');
  expect(keys.open('acme', HOST).kind).toBe('sealed');
  write.run(original);
  expect(keys.open('acme', HOST)).toEqual({ kind: 'key', key: KEY });
});

test('neither key nor secret stands in the file, and the same key is never sealed in the same way', () => {
  const keys = createOrganizationKeys(connection, SECRET);
  const first = sealedOf('acme');
  keys.set('acme', HOST, KEY, 2);
  expect(sealedOf('acme').equals(first)).toBe(false);
  keys.set('globex', HOST, KEY, 2);
  expect(sealedOf('globex').subarray(1).equals(sealedOf('acme').subarray(1))).toBe(false);
  connection.pragma('wal_checkpoint(TRUNCATE)');
  const file = readFileSync(path);
  for (const text of [KEY, SECRET]) expect(file.includes(text)).toBe(false);
  // the ends of keys that are long enough are there to be listed, so that this has looked at the right file
  expect(file.includes('acme')).toBe(true);
});
