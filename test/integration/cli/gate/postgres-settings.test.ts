/** What operators see of a database on PostgreSQL in the settings. */
import { expect, test } from 'vitest';
import { runCommand } from '../../../support/process/command.ts';

const parts = {
  DATABASE_TYPE: 'postgresql',
  DATABASE_USER: 'ann',
  DATABASE_PASSWORD: 'hunter2secret',
  DATABASE_HOST: 'db.invalid',
  DATABASE_PORT: '5432',
  DATABASE_NAME: 'chat',
};
const gate = { MODELGATE_UPSTREAM_URL: 'http://open-webui:8080', WEBUI_SECRET_KEY: 'a-key' };
const byUrl = { DATABASE_URL: 'postgresql://ann:hunter2secret@db.invalid/chat' };

test.each([byUrl, parts])('a configuration on PostgreSQL is valid, and shows no password', async (database) => {
  const environment = { ...gate, ...database };
  const checked = await runCommand(['serve', '--check-config'], { environment, directory: '/tmp' });
  expect(checked).toMatchObject({ code: 0, stderr: '' });
  const shown = await runCommand(['serve', '--show-config'], { environment, directory: '/tmp' });
  expect(shown.code).toBe(0);
  expect(shown.stdout).toMatch(/^DATABASE_(?:PASSWORD +\(not shown\)|URL +postgresql:\/\/\*\*\*@db\.invalid\/chat) /m);
  expect(JSON.stringify([checked, shown])).not.toContain('hunter2secret');
});

test('a file on the command line wins over parts that would override DATABASE_URL', async () => {
  const words = ['org', 'list', '--database', '/tmp/absent-modelgate.db'];
  const { stderr } = await runCommand(words, { environment: { ...parts, DATABASE_SCHEMA: 'x' }, directory: '/tmp' });
  expect(stderr).toContain('/tmp/absent-modelgate.db');
});
