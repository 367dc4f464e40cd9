/** What goes wrong with PostgreSQL, in sentences for operators: no password, no row and no value stands in one. */
import type { PostgresAddress, PostgresHost } from '../../config/postgres-url.ts';

export class PostgresFailure extends Error {
  override readonly name = 'PostgresFailure';
  /** PostgreSQL's own (SQLSTATE), Node's (`ECONNREFUSED`), or `ETIMEDOUT`, `TLS`, `STANDBY`, `VERSION`. */
  readonly code: string;

  constructor(sentence: string, code: string) {
    super(sentence);
    this.code = code;
  }
}

export interface Place {
  readonly host: PostgresHost;
  readonly address: PostgresAddress;
}

/** @returns such as `db:5432` */
export const shownHost = ({ host, port }: PostgresHost): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** What the backend's role must run, so that the gate's own may read its tables, those of later releases too. */
export function grantLines({ user, schema = 'public' }: Pick<PostgresAddress, 'user' | 'schema'>): readonly string[] {
  const [role, place] = [identifier(user), identifier(schema)];
  return [
    `GRANT USAGE, CREATE ON SCHEMA ${place} TO ${role};`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA ${place} TO ${role};`,
    `ALTER DEFAULT PRIVILEGES IN SCHEMA ${place} GRANT SELECT ON TABLES TO ${role};`,
  ];
}

type Sentence = (place: { at: string; address: PostgresAddress }, said: string) => string;

const unreachable =
  (reason: string): Sentence =>
  ({ at }, said) =>
    `PostgreSQL at ${at} cannot be reached: ${reason || said}.`;

const foreign: Sentence = ({ address: { database, schema = 'public' } }, said) =>
  `The schema "${schema}" of the database "${database}" is not that of Open WebUI (${said}). Has the backend been started once, and does DATABASE_SCHEMA name the same schema there?`;

const wrongPassword: Sentence = ({ at, address: { user } }) =>
  `PostgreSQL at ${at} refuses the role "${user}" with the password that it is given.`;

const SENTENCES: Readonly<Record<string, Sentence>> = {
  ECONNREFUSED: unreachable('nothing listens there'),
  ENOENT: unreachable('there is no such socket'),
  ENOTFOUND: unreachable('its name is not known'),
  EAI_AGAIN: unreachable('its name cannot be looked up now'),
  ETIMEDOUT: unreachable('it does not answer in time'),
  '28P01': wrongPassword,
  '28000': ({ at, address: { user } }, said) => `PostgreSQL at ${at} does not admit the role "${user}": ${said}.`,
  '3D000': ({ at, address: { database } }) => `PostgreSQL at ${at} has no database "${database}".`,
  '3F000': foreign,
  '42P01': foreign,
  '42703': foreign,
  '42501': ({ address }, said) =>
    `The role "${address.user}" may not do this (${said}). As the role of the backend, run: ${grantLines(address).join(' ')}`,
  '42883': ({ at }, said) =>
    `PostgreSQL at ${at} cannot compare what it is asked (${said}): \`modelgate doctor\` names the column whose type is another one.`,
  '53300': ({ at }) =>
    `PostgreSQL at ${at} has no connection left: raise max_connections, or shrink the pools of the backend.`,
  '57P03': ({ at }, said) => `PostgreSQL at ${at} takes no connections yet: ${said}.`,
};

/** @returns a failure in the words above; another one stays as it is */
export function failureOf(error: unknown, { host, address }: Place): PostgresFailure {
  if (error instanceof PostgresFailure) return error;
  const place = { at: shownHost(host), address };
  const message = error instanceof Error ? error.message : String(error);
  const code = codeOf(error, message);
  if (isOfTls(code)) {
    const mode = address.tls.mode;
    return new PostgresFailure(`No TLS with PostgreSQL at ${place.at} as sslmode=${mode} wants it: ${message}.`, code);
  }
  if (message.includes('statement pooling mode'))
    return new PostgresFailure(
      `PgBouncer at ${place.at} pools statements, and modelgate needs transactions: set pool_mode = transaction there.`,
      code,
    );
  const sentence = SENTENCES[code];
  if (sentence !== undefined) return new PostgresFailure(sentence(place, message), code);
  // class 22: the message repeats the value that could not be read
  const said = code.startsWith('22') ? 'a value has a form that it does not take' : message;
  return new PostgresFailure(`PostgreSQL at ${place.at}: ${said} (${code}).`, code);
}

/** Whether it is no more than the way of TLS that failed: another may be open. */
export const isOfTls = (code: string): boolean =>
  /^(?:TLS|EPROTO|ERR_(?:SSL|TLS|OSSL)_|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|ERR_TLS)/.test(code);

/** `pg` has errors of its own without a code. */
function codeOf(error: unknown, message: string): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0], message);
  // PgBouncer has one code for all that it refuses
  if (/ authentication failed$/.test(message)) return '28P01';
  if (/^no such database/.test(message)) return '3D000';
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  if (/^timeout expired/.test(message)) return 'ETIMEDOUT';
  if (/^SASL:/.test(message)) return '28P01';
  if (/SSL connection/.test(message)) return 'TLS';
  if (/^(?:Connection terminated|Client (?:was closed|has encountered))/.test(message)) return 'ECONNRESET';
  return 'unknown';
}
