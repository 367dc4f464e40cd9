import { expect, test } from 'vitest';
import { SETTING_NAMES } from '../../../../src/config/settings.ts';
import { askCommand, runCommand } from '../../../support/process/command.ts';

const environment = {
  MODELGATE_UPSTREAM_URL: 'http://open-webui:8080',
  DATABASE_URL: 'sqlite:///webui.db',
  WEBUI_SECRET_KEY: 'a-key-that-is-hidden',
  MODELGATE_MODE: 'report',
};

test('serve --settings needs no configuration, and prints every setting with its default', async () => {
  const { code, stdout, stderr } = await runCommand(['serve', '--settings']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.match(/^[A-Z_]+$/gm)).toEqual(SETTING_NAMES);
  expect(stdout).toContain('MODELGATE_PORT\n  default  8080\n  meaning  Port that the gate listens on.\n');
  const { settings } = await askCommand<{ settings: { name: string }[] }>(['serve', '--settings']);
  expect(settings.map(({ name }) => name)).toEqual(SETTING_NAMES);
});

test('serve --show-config prints what is in force and where it comes from, without secrets', async () => {
  const { code, stdout } = await runCommand(['serve', '--show-config'], { environment, directory: '/tmp' });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^MODELGATE_MODE +report +environment$/m);
  expect(stdout).toMatch(/^MODELGATE_PORT +8080 +default$/m);
  expect(stdout).toMatch(/^WEBUI_SECRET_KEY +\(not shown\) +environment$/m);
  expect(stdout).not.toContain('that-is-hidden');
});

test('serve --show-config of what cannot be used says what is wrong instead', async () => {
  const wrong = { ...environment, MODELGATE_PORT: 'x', MODELGATE_PROT: '1' };
  expect(await runCommand(['serve', '--show-config'], { environment: wrong, directory: '/tmp' })).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringContaining('There are 2 mistakes') as string,
  });
});
