import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeIssues } from '../../../src/config/issue.ts';
import { parseStoreConfig } from '../../../src/config/parse.ts';
import { parsePostgresUrl } from '../../../src/config/postgres-url.ts';

const word = fc.stringMatching(/^[a-z][\w.-]{0,12}$/);
const secret = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((text) => text.isWellFormed() && !text.includes('\0'));
const port = fc.integer({ min: 1, max: 65_535 });
const hosts = fc.array(fc.record({ host: word, port }), { minLength: 1, maxLength: 3 });

test('what is escaped as in a URL is read as it was meant, and no password is shown', () => {
  fc.assert(
    fc.property(secret, secret, hosts, word, (user, password, places, database) => {
      const place = places.map(({ host, port: own }) => `${host}:${own}`).join(',');
      const credential = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
      const address = parsePostgresUrl(`postgresql://${credential}@${place}/${database}`);
      expect(address).toMatchObject({ user, password, hosts: places, database });
      expect(address).toHaveProperty('shown', `postgresql://${encodeURIComponent(user)}@${place}/${database}`);
    }),
  );
});

test('whatever is wrong with a URL or its parts: no mistake shows the password', () => {
  const noise = fc.constantFrom('', ':', '@', '/', '?', '#', '[', '%', ' ', '&sslmode=', '@db:', ':5432', '//');
  const parts = fc.array(noise, { minLength: 5, maxLength: 5 });
  const scheme = fc.constantFrom(
    'postgres',
    'postgresql',
    'postgresql+x',
    'mysql',
    'POSTGRES',
    'oracle',
    'sqlite+sqlcipher',
  );
  fc.assert(
    fc.property(scheme, parts, (name, [a, b, c, d, e]) => {
      const password = 'hunter2secret';
      const url = `${name}:${a}//${b}ann:${c}${password}${d}@db${e}/chat`;
      const mistakes = (environment: Record<string, string>): string => {
        const parsed = parseStoreConfig({ environment, directory: '/srv', readSecret: () => '' });
        return parsed.issues === undefined ? '' : describeIssues(parsed.issues);
      };
      const inParts = {
        DATABASE_TYPE: name,
        DATABASE_USER: `ann${a}`,
        DATABASE_PASSWORD: `${b}${password}${c}`,
        DATABASE_HOST: `db${d}`,
        DATABASE_PORT: `5432${e}`,
        DATABASE_NAME: 'chat',
      };
      const { DATABASE_HOST: _, ...some } = inParts;
      for (const environment of [{ DATABASE_URL: url }, inParts, some])
        expect(mistakes(environment)).not.toContain(password);
    }),
  );
});
