import { expect, test } from 'vitest';
import { toOrganizationId } from '../../../src/policy/principal.ts';
import { type OpenedStore, databaseOfTest, openStore } from '../../support/database/opened-store.ts';

const keyOf = (opened: OpenedStore, id = 'acme') => opened.next().openrouterKeyOf(toOrganizationId(id));

test('the key of an organization is that of mAI, of no other organization, and of this moment', async () => {
  const database = databaseOfTest();
  for (const id of ['acme', 'globex']) database.addClientOrganization(id, 1);
  using opened = await openStore(database.path);
  expect(await keyOf(opened)).toBe('provider-key-of-acme');
  expect(await keyOf(opened, 'globex')).toBe('provider-key-of-globex');
  for (const id of ['ACME', 'initech']) expect(await keyOf(opened, id)).toBeUndefined();
  database.run("UPDATE client_organizations SET openrouter_api_key = ' sk-or-new\n' WHERE id = 'acme'");
  expect(await keyOf(opened)).toBe('sk-or-new');
  database.run("UPDATE client_organizations SET openrouter_api_key = '  ' WHERE id = 'acme'");
  expect(await keyOf(opened)).toBeUndefined();
});

test('there is none in a file without the table, and none in a table without the column', async () => {
  const database = databaseOfTest();
  using opened = await openStore(database.path);
  expect(await keyOf(opened)).toBeUndefined();
  database.addClientOrganization('acme', 1);
  expect(await keyOf(opened)).toBe('provider-key-of-acme');
  database.sql.exec('DROP TABLE client_organizations; CREATE TABLE client_organizations (id TEXT, is_active INTEGER)');
  database.run("INSERT INTO client_organizations VALUES ('acme', 1)");
  expect(await keyOf(opened)).toBeUndefined();
});
