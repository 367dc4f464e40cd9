import { expect, test } from 'vitest';
import { parseConfig } from '../../../src/config/parse.ts';
import { secretsOf } from '../../../src/config/secrets.ts';

function secretsWith(url: string): readonly string[] {
  const environment = { MODELGATE_UPSTREAM_URL: 'http://b', WEBUI_SECRET_KEY: 'the-key', DATABASE_URL: url };
  const parsed = parseConfig({ environment, directory: '/srv', readSecret: () => '' });
  if (parsed.issues !== undefined) throw new Error(JSON.stringify(parsed.issues));
  return secretsOf(parsed.config);
}

test('the password of the database is a secret, as it is and as it stands in a URL', () => {
  expect(secretsWith('postgresql://ann:p%40ss@db/chat')).toEqual(['p@ss', 'p%40ss', 'the-key']);
  expect(secretsWith('postgresql://ann@db/chat?sslcert=/c&sslkey=/k')).not.toContain('ann');
});

test('one that is the name of the role or of the database is none: the log names both', () => {
  expect(secretsWith('postgresql://openwebui:openwebui@db/chat')).toEqual(['the-key']);
  expect(secretsWith('postgresql://ann:chat@db/chat')).toEqual(['the-key']);
});

test('on SQLite there is none', () => expect(secretsWith('sqlite:////data/webui.db')).toEqual(['the-key']));
