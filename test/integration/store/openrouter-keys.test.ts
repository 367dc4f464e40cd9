import { expect, test } from 'vitest';
import { toOrganizationId } from '../../../src/policy/principal.ts';
import { type OpenedStore, databaseOfTest, openStore } from '../../support/database/opened-store.ts';

const keyOf = (opened: OpenedStore, id = 'acme') => opened.next().openrouterKeyOf(toOrganizationId(id));

test('the key of an organization is that of mAI, of no other organization, and of this moment', async () => {
  const database = databaseOfTest();
  for (const id of ['acme', 'globex']) database.addClientOrganization(id, 1);
  using opened = await openStore(database);
  expect(await keyOf(opened)).toBe('provider-key-of-acme');
  expect(await keyOf(opened, 'globex')).toBe('provider-key-of-globex');
  for (const id of ['ACME', 'initech']) expect(await keyOf(opened, id)).toBeUndefined();
  database.run("UPDATE client_organizations SET openrouter_api_key = ' sk-or-new\n' WHERE id = 'acme'");
  expect(await keyOf(opened)).toBe('sk-or-new');
  database.run("UPDATE client_organizations SET openrouter_api_key = '  ' WHERE id = 'acme'");
  expect(await keyOf(opened)).toBeUndefined();
});

test('there is none without the table, and none in a table without the column', async () => {
  const database = databaseOfTest();
  using opened = await openStore(database);
  // PostgreSQL is asked once a second what tables it has
  const becomes = async (key: string | undefined) => {
    opened.clock.advance(1_000);
    await expect.poll(() => keyOf(opened)).toBe(key);
  };
  expect(await keyOf(opened)).toBeUndefined();
  database.addClientOrganization('acme', 1);
  await becomes('provider-key-of-acme');
  database.run('DROP TABLE client_organizations');
  database.run('CREATE TABLE client_organizations (id TEXT, is_active INTEGER)');
  database.run("INSERT INTO client_organizations VALUES ('acme', 1)");
  await becomes(undefined);
});
