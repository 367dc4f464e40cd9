/** The backend's own names for its database, and how the gate reads it. */
import { z } from 'zod';
import { type PostgresAddress, parsePostgresUrl } from './postgres-url.ts';
import { setting } from './row.ts';
import * as value from './value.ts';

type DatabaseUrl =
  | { readonly engine: 'sqlite'; /** As written, without the query. */ readonly path: string }
  | { readonly engine: 'postgresql'; readonly address: PostgresAddress };

const SQLITE_PREFIX = 'sqlite:///';

/** @returns what a URL names, or the reason why it names nothing: empty where "expected …" says it; it shows no part of the text */
export function parseDatabaseUrl(text: string): DatabaseUrl | string {
  if (/^postgres(?:ql)?(?:\+\w+)?:/.test(text)) {
    const address = parsePostgresUrl(text);
    return typeof address === 'string' ? address : { engine: 'postgresql', address };
  }
  if (!text.startsWith(SQLITE_PREFIX)) return REFUSED.find(([pattern]) => pattern.test(text))?.[1] ?? '';
  const path = text.slice(SQLITE_PREFIX.length).split('?')[0] ?? '';
  if (path === '' || path === ':memory:') return 'a database in memory cannot be shared with the backend';
  if (path.startsWith('file:')) return 'the `file:` form is not supported';
  return path.includes('\0') ? 'it contains a NUL character' : { engine: 'sqlite', path };
}

const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^postgres/i, 'its scheme is neither `postgresql` nor `postgres` in small letters'],
  [/^(?:mysql|mariadb)/i, 'MySQL and MariaDB are not supported'],
  [/^sqlite\+sqlcipher:/i, 'an encrypted SQLite file (SQLCipher) is not supported'],
  [/^sqlite:/i, 'three slashes come before a relative path, four before an absolute one'],
];

const databaseUrl = value.string
  .transform((text, context) => {
    const read = parseDatabaseUrl(text);
    return typeof read === 'string' ? (context.addIssue({ code: 'custom', message: read }), z.NEVER) : read;
  })
  .describe(
    "the backend's database: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`",
  );

const part = (expected: string) => value.string.min(1).describe(expected);

export const DATABASE_SETTINGS = {
  DATABASE_URL: setting(databaseUrl, 'sqlite:////app/backend/data/webui.db'),
  DATA_DIR: setting(value.text(4096).describe("the backend's data directory"), '/app/backend/data'),
  DATABASE_TYPE: setting(part('the scheme of a URL'), 'postgresql'),
  DATABASE_USER: setting(part('the name of a role'), 'openwebui'),
  DATABASE_PASSWORD: setting(part('the password of that role'), '<the value that the backend has>', true),
  DATABASE_HOST: setting(part('a host name or an IP address'), 'postgres'),
  DATABASE_PORT: setting(part('a port number'), '5432'),
  DATABASE_NAME: setting(part('the name of a database'), 'openwebui'),
  DATABASE_SCHEMA: setting(value.text(63).min(1).describe('the name of a schema'), 'openwebui'),
  DATABASE_ENABLE_IAM_TOKEN_AUTH: setting(value.boolean, 'false'),
} as const;

export const DATABASE_MEANINGS = {
  DATABASE_URL:
    "The backend's own setting. Not set: `webui.db` in `DATA_DIR`. One of the two is **required**. A URL with a password stands in the environment alone.",
  DATA_DIR: "The backend's own setting; read where `DATABASE_URL` is not set.",
  DATABASE_TYPE:
    "The backend's own setting. With user or password, host, port and name beside it, these six are put together to a URL (nothing is escaped) that is used in place of `DATABASE_URL`.",
  DATABASE_USER: "The backend's own setting, beside `DATABASE_TYPE`.",
  DATABASE_PASSWORD: "The backend's own setting, beside `DATABASE_TYPE`.",
  DATABASE_HOST: "The backend's own setting, beside `DATABASE_TYPE`.",
  DATABASE_PORT: "The backend's own setting, beside `DATABASE_TYPE`.",
  DATABASE_NAME: "The backend's own setting, beside `DATABASE_TYPE`.",
  DATABASE_SCHEMA: "The backend's own setting: the schema of its tables on PostgreSQL. Not set: `public`.",
  DATABASE_ENABLE_IAM_TOKEN_AUTH: "The backend's own setting: `true` is not supported.",
};
