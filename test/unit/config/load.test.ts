import { asNobody } from '../../support/process/as-nobody.ts';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig, loadSettingsInForce, loadStoreConfig, loadUsageConfig } from '../../../src/config/load.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-config-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const environment = (more: Record<string, string> = {}): Record<string, string> => ({
  MODELGATE_UPSTREAM_URL: 'http://open-webui:8080',
  DATABASE_URL: 'sqlite:///webui.db',
  WEBUI_SECRET_KEY: 'key',
  ...more,
});
const foundBy = (sources: Parameters<typeof loadConfig>[0]): string[] =>
  (loadConfig(sources).issues ?? []).map(({ setting, found }) => `${setting}: ${found}`);

describe('loadConfig', () => {
  test('finds relative paths from the directory it is given, and a database need not exist yet', () => {
    expect(loadConfig({ environment: environment(), directory })).toMatchObject({
      config: { database: { path: join(directory, 'webui.db') } },
    });
  });

  test('reads the file that MODELGATE_CONFIG names', () => {
    writeFileSync(join(directory, 'gate.yaml'), 'MODELGATE_PORT: 8123\n');
    expect(loadConfig({ environment: environment({ MODELGATE_CONFIG: 'gate.yaml' }), directory })).toMatchObject({
      config: { listen: { port: 8123 } },
    });
  });

  test('prefers the file of the command line', () => {
    writeFileSync(join(directory, 'gate.yaml'), 'MODELGATE_PORT: 8123\n');
    const sources = { environment: environment({ MODELGATE_CONFIG: 'absent.yaml' }), directory, file: 'gate.yaml' };
    expect(loadConfig(sources)).toMatchObject({ config: { listen: { port: 8123 } } });
  });

  test('takes an empty file, or one of comments only, as no settings', () => {
    for (const text of ['', '# nothing yet\n', '---\n']) {
      writeFileSync(join(directory, 'gate.yaml'), text);
      expect(loadConfig({ environment: environment(), directory, file: 'gate.yaml' })).toHaveProperty('config');
    }
  });

  test('reports a file that is not there beside every other mistake', () => {
    expect(foundBy({ environment: environment({ MODELGATE_PORT: 'x' }), directory, file: 'absent.yaml' })).toEqual([
      'absent.yaml: this file does not exist',
      'MODELGATE_PORT: "x"',
    ]);
  });

  test.each([
    ['MODELGATE_PORT: 1\nMODELGATE_PORT: 2\n', 'gate.yaml:2:1: this name was set above already'],
    ['A: 1\n  port: 3\n', 'gate.yaml:2:3: this line is indented under the value of the line above it'],
    ['A: b: c\n', 'gate.yaml:1:4: this value has a colon and a space in it, and no quotes'],
    ['A: 1\n\tB: 2\n', 'gate.yaml:2:1: this line begins with a tab'],
    ['A 1\nB: 2\n', 'gate.yaml:1:1: this line has no colon behind its name'],
    ['A: "1\nB: 2\n', 'gate.yaml:3:1: this is no YAML (Missing closing "quote)'],
    ['- a\nhunter2: hunter2\n', 'gate.yaml:2:1: this is no YAML (Unexpected scalar at node end)'],
    ['A: &a [x]\nB: [*a]\n', 'gate.yaml: this file has aliases (*name), which are not read'],
  ])('reports the first place in a file that is not YAML, and nothing of its text: %j', (text, found) => {
    writeFileSync(join(directory, 'gate.yaml'), text);
    expect(foundBy({ environment: environment(), directory, file: 'gate.yaml' })).toEqual([found]);
  });

  test('refuses YAML aliases, which could make a small file huge', () => {
    writeFileSync(join(directory, 'gate.yaml'), 'MODELGATE_HOST: &a ["x"]\nMODELGATE_MEDIA_MODELS: [*a, *a]\n');
    expect(foundBy({ environment: environment(), directory, file: 'gate.yaml' })).toHaveLength(1);
  });

  test('reports a directory in place of a file', () => {
    expect(foundBy({ environment: environment(), directory, file: '.' })).toEqual([
      '.: this is a directory, not a YAML file',
    ]);
  });

  test('reads the key from its file', () => {
    writeFileSync(join(directory, 'key'), 'abc\n');
    const { WEBUI_SECRET_KEY: _, ...rest } = environment({ WEBUI_SECRET_KEY_FILE: 'key' });
    expect(loadConfig({ environment: rest, directory })).toMatchObject({
      config: { identity: { secretKeys: ['abc', 'abc\n'] } },
    });
  });

  test('reports key files that are absent, a directory or no text', () => {
    writeFileSync(join(directory, 'binary'), Buffer.from([0xff, 0xfe, 0x00]));
    const { WEBUI_SECRET_KEY: _, ...rest } = environment();
    const found = (name: string): string[] =>
      foundBy({ environment: { ...rest, WEBUI_SECRET_KEY_FILE: name }, directory });
    expect(found('absent')).toEqual([`WEBUI_SECRET_KEY_FILE: "${directory}/absent", which does not exist`]);
    expect(found('.')).toEqual([`WEBUI_SECRET_KEY_FILE: "${directory}", which is a directory`]);
    expect(found('binary')).toEqual([`WEBUI_SECRET_KEY_FILE: "${directory}/binary", which is not UTF-8 text`]);
  });

  test('reports a key file that this user may not read', () => {
    writeFileSync(join(directory, 'key'), 'abc');
    chmodSync(join(directory, 'key'), 0);
    chmodSync(directory, 0o755);
    const { WEBUI_SECRET_KEY: _, ...rest } = environment({ WEBUI_SECRET_KEY_FILE: 'key' });
    const found = asNobody(() => foundBy({ environment: rest, directory }));
    expect(found[0]).toContain('which may not be read by this user');
  });

  test('reports a database whose directory is missing, is a file, or which is a directory itself', () => {
    writeFileSync(join(directory, 'file'), '');
    mkdirSync(join(directory, 'folder'));
    const found = (url: string): string | undefined =>
      foundBy({ environment: environment({ DATABASE_URL: url }), directory })[0];
    expect(found('sqlite:///absent/webui.db')).toContain('does not exist: is the volume mounted?');
    expect(found('sqlite:///file/webui.db')).toContain('whose directory is a file');
    expect(found('sqlite:///folder')).toContain('which is a directory');
  });

  test('reports certificates of a URL that cannot be read', () => {
    writeFileSync(join(directory, 'ca.pem'), 'any');
    const url = (parameters: string) => `postgresql://ann:secret@db/chat?sslmode=verify-full&${parameters}`;
    const found = (parameters: string) =>
      foundBy({ environment: environment({ DATABASE_URL: url(parameters) }), directory });
    expect(found('sslrootcert=ca.pem')).toEqual([]);
    expect(found('sslrootcert=system')).toEqual([]);
    expect(found('sslrootcert=absent.pem&sslcert=ca.pem&sslkey=.')).toEqual([
      `DATABASE_URL: sslrootcert=${directory}/absent.pem, which does not exist`,
      `DATABASE_URL: sslkey=${directory}, which is a directory`,
    ]);
  });
});

test('what is in force is known with its source, and no secret is shown', () => {
  writeFileSync(join(directory, 'gate.yaml'), 'MODELGATE_PORT: 8123\nMODELGATE_MODE: report\n');
  const given = environment({ MODELGATE_MODE: 'enforce', CORS_ALLOW_ORIGIN: 'https://user:pass@host' });
  const settings = loadSettingsInForce({ environment: given, directory, file: 'gate.yaml' });
  expect(settings).toEqual(
    expect.arrayContaining([
      { name: 'MODELGATE_PORT', value: '8123', source: 'gate.yaml' },
      { name: 'MODELGATE_MODE', value: 'enforce', source: 'environment' },
      { name: 'MODELGATE_HOST', value: '0.0.0.0', source: 'default' },
      { name: 'WEBUI_SECRET_KEY', value: null, source: 'environment' },
      { name: 'CORS_ALLOW_ORIGIN', value: 'https://***@host', source: 'environment' },
    ]),
  );
});

describe('loadStoreConfig', () => {
  test('tells the setting that names the database', () => {
    const parsed = loadStoreConfig({ environment: { DATA_DIR: 'absent' }, directory });
    expect(parsed.issues).toMatchObject([{ setting: 'DATA_DIR', example: 'DATA_DIR=/app/backend/data' }]);
  });

  test('needs neither the backend nor its key', () => {
    const parsed = loadStoreConfig({ environment: { DATABASE_URL: 'sqlite:///webui.db' }, directory });
    expect(parsed).toMatchObject({
      config: { database: { path: join(directory, 'webui.db') }, policy: { mode: 'enforce' } },
    });
  });

  test('still reports what is set wrongly', () => {
    const parsed = loadStoreConfig({
      environment: { DATABASE_URL: 'sqlite:///webui.db', MODELGATE_UPSTREAM_URL: 'x' },
      directory,
    });
    expect(parsed.issues).toMatchObject([{ setting: 'MODELGATE_UPSTREAM_URL' }]);
  });
});

describe('the ledger', () => {
  const door = (more: Record<string, string> = {}): Record<string, string> =>
    environment({
      MODELGATE_PROVIDER_PORT: '8081',
      MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-some-more-than-32-letters',
      MODELGATE_PROVIDERS: 'http://ollama:11434',
      ...more,
    });

  test("stands in a folder beside the backend's database, which need not exist yet", () => {
    expect(loadConfig({ environment: door(), directory })).toMatchObject({
      config: { usage: { path: join(directory, 'modelgate', 'usage.db') } },
    });
  });

  test('is found where a folder or a file is named, from the directory that is given', () => {
    const pathOf = (more: Record<string, string>) => {
      const parsed = loadUsageConfig({ environment: more, directory });
      return parsed.issues ?? parsed.config.usage.path;
    };
    expect(pathOf({ MODELGATE_STATE_DIR: 'state' })).toBe(join(directory, 'state', 'usage.db'));
    expect(pathOf({ MODELGATE_STATE_DIR: 'state', MODELGATE_USAGE_DATABASE: 'x.db' })).toBe(join(directory, 'x.db'));
    expect(pathOf({ DATA_DIR: '.' })).toBe(join(directory, 'modelgate', 'usage.db'));
  });

  test('must be named for its commands, which need neither backend, key nor door', () => {
    const { issues } = loadUsageConfig({ environment: {}, directory });
    expect(issues).toMatchObject([{ setting: 'MODELGATE_USAGE_DATABASE', found: 'nothing' }]);
  });

  test('is in a folder that is there or can be made, and is a file', () => {
    writeFileSync(join(directory, 'file'), '');
    mkdirSync(join(directory, 'folder'));
    const found = (more: Record<string, string>): string[] => foundBy({ environment: door(more), directory });
    expect(found({ MODELGATE_STATE_DIR: 'absent/state' })).toEqual([
      `MODELGATE_STATE_DIR: "${directory}/absent/state", in a folder that does not exist: is the volume mounted?`,
    ]);
    expect(found({ MODELGATE_STATE_DIR: 'file' })).toEqual([
      `MODELGATE_STATE_DIR: "${directory}/file", which is a file`,
    ]);
    expect(found({ MODELGATE_USAGE_DATABASE: 'folder' })).toEqual([
      `MODELGATE_USAGE_DATABASE: "${directory}/folder", which is a directory`,
    ]);
    expect(found({ MODELGATE_STATE_DIR: 'folder' })).toEqual([]);
  });

  test('is not asked for twice where the directory of the database is missing', () => {
    expect(foundBy({ environment: door({ DATABASE_URL: 'sqlite:///absent/webui.db' }), directory })).toHaveLength(1);
  });
});
