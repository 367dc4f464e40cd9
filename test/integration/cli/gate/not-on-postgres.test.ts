import { expect, test } from 'vitest';
import { runCommand } from '../../../support/process/command.ts';

test.each([[['serve']]])('%j says that it does not run on PostgreSQL yet', async (words) => {
  const environment = {
    MODELGATE_UPSTREAM_URL: 'http://open-webui:8080',
    WEBUI_SECRET_KEY: 'a-key',
    DATABASE_URL: 'postgresql://ann:hunter2secret@db.invalid/chat',
  };
  const { code, stderr } = await runCommand(words, { environment, directory: '/tmp' });
  expect(code).toBe(2);
  expect(stderr).toContain(
    "The backend's database is postgresql://ann@db.invalid:5432/chat: modelgate does not do this",
  );
  expect(stderr).not.toContain('hunter2secret');
});
