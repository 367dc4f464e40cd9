/**
 * A `DATABASE_URL` of PostgreSQL, read as the backend reads it: SQLAlchemy splits it (`make_url`), libpq understands its
 * parameters. What both would refuse is refused here, in a sentence that shows no part of the text.
 */
import { nearest } from '../nearest.ts';

type TlsMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export interface PostgresTls {
  /** As libpq means it: `prefer` and `require` alone prove nothing about the server. */
  readonly mode: TlsMode;
  /** Path of a PEM file, as the others; the word `system` stands for the authorities that the machine trusts. */
  readonly rootCertificate?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly revoked?: string;
}

export interface PostgresAddress {
  /** To be tried in this order. A host that begins with a slash is the folder of a Unix socket. */
  readonly hosts: readonly PostgresHost[];
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
  /** Where the backend's tables are; undefined where the server's `search_path` decides, which is `public`. */
  readonly schema: string | undefined;
  readonly tls: PostgresTls;
  /** The URL without password and parameters, for logs and sentences. */
  readonly shown: string;
}

export interface PostgresHost {
  readonly host: string;
  readonly port: number;
}

/** As SQLAlchemy splits it: a password may hold `/`, `:` and `?`, the name of the database is taken as it stands. */
const FORM =
  /^postgres(?:ql)?(?:\+\w+)?:\/\/(?:(?<user>[^:/]*)(?::(?<password>[^@]*))?@)?(?<place>[^/?]*)(?:\/(?<name>[^?]*))?(?:\?(?<query>.*))?$/s;
const HOST = /^(?:[\w.-]+|\[[\da-f:.]+(?:%\w+)?\]|\/.*)$/i;
const DEFAULT_PORT = 5432;

/** What is read here, and at the end what makes no other connection of it. */
const READ =
  /^(?:user|password|dbname|host|port|options|ssl|ssl(?:mode|rootcert|cert|key|crl|compression|sni)|(?:fallback_)?application_name|connect_timeout|tcp_user_timeout|keepalives(?:_\w+)?|client_encoding|target_session_attrs|load_balance_hosts|channel_binding|gssencmode|krbsrvname|gsslib|gssdelegation)$/;
/** Of libpq: they choose another server, role or password, or demand more of it. */
const NOT_READ =
  /^(?:service|servicefile|hostaddr|passfile|require\w+|ssl(?:password|crldir|certmode|negotiation|_m\w+_protocol_version)|replication)$/;

/** @returns the address, or the reason why there is none */
export function parsePostgresUrl(text: string): PostgresAddress | string {
  const { groups } = FORM.exec(text) ?? {};
  if (groups === undefined) return 'it begins with neither `postgresql://` nor `postgres://`';
  const { place = '', name = '' } = groups;
  if (place.includes('@') || name.includes('@')) return 'an @ in the user name or the password is written %40';
  const query = new URLSearchParams(groups['query']);
  const unread = [...query.keys()].find((key) => !READ.test(key));
  if (unread !== undefined) return unknownParameter(unread);
  const given = (key: string): string | undefined => query.getAll(key).find((value) => value !== '');
  const user = given('user') ?? unquoted(groups['user'] ?? '');
  if (user === '') return 'it names no user';
  const hosts = readHosts(place, query.getAll('host'), given('port'));
  if (typeof hosts === 'string') return hosts;
  const tls = readTls(given);
  if (typeof tls === 'string') return tls;
  const database = given('dbname') ?? (name === '' ? user : name);
  const password = given('password') ?? (groups['password'] === undefined ? undefined : unquoted(groups['password']));
  const schema = [...(given('options') ?? '').matchAll(SEARCH_PATH)].at(-1)?.[1];
  if ([user, database, password, schema].some((part) => part?.includes('\0') === true))
    return 'it contains a NUL character';
  const places = hosts.map(({ host, port }) => `${bracketed(host)}:${port}`).join(',');
  const shown = `postgresql://${encodeURIComponent(user)}@${places}/${database}`;
  return { hosts, database, user, password, schema, tls, shown };
}

/** Shows a name of libpq alone: another one may be a part of a password. */
function unknownParameter(key: string): string {
  if (NOT_READ.test(key)) return `its query has ${key}, which is not known here: leave it out`;
  const meant = nearest(key, MEANT);
  const close = meant === undefined ? '' : ` (did you mean ${meant}?)`;
  return `its query has a parameter that is not known here${close}: leave it out, or correct its name`;
}

const MEANT = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'sslcrl', 'options'];

const SEARCH_PATH = /(?:-c\s*|--)search_path=(?:["']*\$user["']*\s*,\s*)?["']*([^\s,"']+)/gi;

/** As Python's `unquote`: what is no escape stays. */
const unquoted = (text: string): string =>
  text.replace(/(?:%[\da-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString());

/** @returns `db:5432`, `[::1]:5432` */
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** `h1:1,h2:2` before the name, or `host=` and `port=` behind it, which win. */
function readHosts(place: string, inQuery: readonly string[], ports?: string): readonly PostgresHost[] | string {
  const listed = (inQuery.length > 0 ? inQuery.join(',') : place).split(',');
  const found = listed.map((entry) => /^(?<host>\/.*|\[.*\]|[^:]*)(?::(?<port>.*))?$/s.exec(entry)?.groups);
  const behind = ports?.split(',') ?? [];
  const own = found.map((groups, index) => behind[index] ?? (behind.length === 1 ? behind[0] : groups?.['port']));
  // `h1,h2:6432` is one port for both, as SQLAlchemy hands it on
  const ofAll = own.slice(0, -1).every((port) => port === undefined) ? own.at(-1) : undefined;
  const hosts: PostgresHost[] = [];
  for (const [index, groups] of found.entries()) {
    const host = groups?.['host'] ?? '';
    if (host === '') return listed.length === 1 ? 'it names no host' : 'there is an empty host between two commas';
    if (!HOST.test(host)) return 'its host is no name and no address';
    const typed = own[index] ?? ofAll ?? '';
    const port = typed === '' ? DEFAULT_PORT : Number(typed);
    if (!/^\d{0,5}$/.test(typed) || port < 1 || port > 65_535) return 'its port is not a number from 1 to 65535';
    hosts.push({ host: host.replace(/^\[|\]$/g, ''), port });
  }
  return hosts;
}

/** `allow` would first try without TLS, which here is as good as `prefer`. */
const MODES: Readonly<Record<string, TlsMode>> = {
  ...{ disable: 'disable', allow: 'prefer', prefer: 'prefer', require: 'require' },
  ...{ 'verify-ca': 'verify-ca', 'verify-full': 'verify-full' },
};

/** `sslmode` wins over `ssl`, as in the backend. */
function readTls(given: (key: string) => string | undefined): PostgresTls | string {
  const mode = MODES[given('sslmode') ?? given('ssl') ?? 'prefer'];
  if (mode === undefined) return `its sslmode is none of ${Object.keys(MODES).join(', ')}`;
  const [rootCertificate, certificate, key, revoked] = ['sslrootcert', 'sslcert', 'sslkey', 'sslcrl'].map(given);
  if (rootCertificate === 'system' && mode !== 'verify-full') return 'sslrootcert=system needs sslmode=verify-full';
  if (rootCertificate === undefined && mode.startsWith('verify-'))
    return `sslmode=${mode} needs sslrootcert with the file of the authority that signed the server's certificate, or sslmode=verify-full and sslrootcert=system`;
  if ((certificate === undefined) !== (key === undefined)) return 'of sslcert and sslkey one is missing';
  return {
    mode,
    ...(rootCertificate !== undefined && { rootCertificate }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
    ...(revoked !== undefined && { revoked }),
  };
}
