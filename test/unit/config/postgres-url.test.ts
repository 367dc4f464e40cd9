import { describe, expect, test } from 'vitest';
import { parseDatabaseUrl } from '../../../src/config/database-settings.ts';
import { type PostgresAddress, parsePostgresUrl } from '../../../src/config/postgres-url.ts';

function read(text: string): PostgresAddress {
  const address = parsePostgresUrl(text);
  if (typeof address === 'string') throw new Error(address);
  return address;
}

const hostsOf = (text: string): string[] => read(text).hosts.map(({ host, port }) => `${host} ${port}`);

describe('the forms of a URL', () => {
  test.each(['postgresql', 'postgres', 'postgresql+psycopg2', 'postgresql+psycopg', 'postgresql+asyncpg'])(
    '%s://',
    (scheme) => {
      expect(read(`${scheme}://ann:secret@db:6432/chat`)).toEqual({
        hosts: [{ host: 'db', port: 6432 }],
        database: 'chat',
        user: 'ann',
        password: 'secret',
        schema: undefined,
        tls: { mode: 'prefer' },
        shown: 'postgresql://ann@db:6432/chat',
      });
    },
  );

  test.each([
    ['postgresql://ann@db/chat', undefined],
    ['postgresql://ann:@db/chat', ''],
    ['postgresql://ann:p%40ss%2Fword@db/chat', 'p@ss/word'],
    ['postgresql://ann:50%off@db/chat', '50%off'],
    ['postgresql://ann:a/b?c:d#e@db/chat', 'a/b?c:d#e'],
    ['postgresql://ann:a+b@db/chat', 'a+b'],
    ['postgresql://ann:%C3%A9@db/chat', 'é'],
    ['postgresql://db/chat?user=ann&password=a%26b', 'a&b'],
  ])('%s has the password %j', (text, password) => expect(read(text)).toMatchObject({ user: 'ann', password }));

  test('without a name is the database of the role, and the name is taken as it stands', () => {
    expect(read('postgresql://ann@db').database).toBe('ann');
    expect(read('postgresql://ann@db/').database).toBe('ann');
    expect(read('postgresql://ann@db/a%20b').database).toBe('a%20b');
    expect(read('postgresql://ann@db/x?dbname=chat').database).toBe('chat');
  });

  test.each([
    ['postgresql://a@db/x', ['db 5432']],
    ['postgresql://a@10.0.0.1:1/x', ['10.0.0.1 1']],
    ['postgresql://a@[::1]:6432/x', ['::1 6432']],
    ['postgresql://a@[fd00::1]/x', ['fd00::1 5432']],
    ['postgresql://a@one:1,two:2/x', ['one 1', 'two 2']],
    ['postgresql://a@one,two/x', ['one 5432', 'two 5432']],
    ['postgresql://a@one,two:6432/x', ['one 6432', 'two 6432']],
    ['postgresql://a@/x?host=one:1&host=two:2', ['one 1', 'two 2']],
    ['postgresql://a@/x?host=one,two&port=1,2', ['one 1', 'two 2']],
    ['postgresql://a@/x?host=one,two&port=6432', ['one 6432', 'two 6432']],
    ['postgresql://a@/x?host=/var/run/postgresql', ['/var/run/postgresql 5432']],
    ['postgresql://a@my_db-1.internal./x', ['my_db-1.internal. 5432']],
  ])('%s leads to %j', (text, hosts) => expect(hostsOf(text)).toEqual(hosts));

  test('the schema may stand in libpq options', () => {
    expect(read('postgresql://a@db/x?options=-csearch_path%3Dchat').schema).toBe('chat');
    expect(read('postgresql://a@db/x?options=-c%20search_path=chat,public%20-c%20x=y').schema).toBe('chat');
    expect(read('postgresql://a@db/x?options=-c%20statement_timeout=5').schema).toBeUndefined();
    // the last one counts, and a role has seldom a schema of its own
    expect(read('postgresql://a@db/x?options=-csearch_path=one%20--search_path=two').schema).toBe('two');
    expect(read('postgresql://a@db/x?options=-c%20search_path="$user",chat').schema).toBe('chat');
  });

  test('may have parameters of libpq that make no other connection of it', () => {
    const harmless =
      'connect_timeout=5&application_name=x&keepalives_idle=9&target_session_attrs=read-write&ssl=require';
    expect(read(`postgresql://a@db/x?${harmless}&channel_binding=prefer&gssencmode=disable`).tls.mode).toBe('require');
  });

  test('what is shown of it has no password and no parameter', () => {
    const { shown } = read('postgresql://a%40b:secret@one:1,[::1]:2/x?password=secret&sslmode=require');
    expect(shown).toBe('postgresql://a%40b@one:1,[::1]:2/x');
  });
});

describe('TLS', () => {
  const tlsOf = (query: string) => read(`postgresql://a@db/x?${query}`).tls;
  const root = 'sslrootcert=/ca.pem';

  test.each([
    ['', 'prefer'],
    ['sslmode=disable', 'disable'],
    ['sslmode=allow', 'prefer'],
    ['sslmode=require', 'require'],
    ['ssl=require', 'require'],
    ['ssl=disable&sslmode=require', 'require'],
    [`sslmode=verify-ca&${root}`, 'verify-ca'],
    [`sslmode=verify-full&${root}`, 'verify-full'],
    ['sslmode=verify-full&sslrootcert=system', 'verify-full'],
  ])('%j is %s', (query, mode) => expect(tlsOf(query).mode).toBe(mode));

  test('files are those of the parameters', () => {
    const files = { rootCertificate: '/ca.pem', certificate: '/c.pem', key: '/k.pem', revoked: '/r.pem' };
    const query = `${root}&sslcert=/c.pem&sslkey=/k.pem&sslcrl=/r.pem&sslmode=require`;
    expect(tlsOf(query)).toEqual({ mode: 'require', ...files });
  });
});

describe('a URL that cannot be used', () => {
  const UNKNOWN = 'its query has a parameter that is not known here';
  const REMEDY = 'leave it out, or correct its name';
  test.each([
    ['postgresql://db/x', 'it names no user'],
    ['postgresql://a@/x', 'it names no host'],
    ['postgresql://a@one,,two/x', 'there is an empty host between two commas'],
    ['postgresql://a:p@ss@db/x', 'an @ in the user name or the password is written %40'],
    ['postgresql://a@db:x/x', 'its port is not a number from 1 to 65535'],
    ['postgresql://a@db:70000/x', 'its port is not a number from 1 to 65535'],
    ['postgresql://a@db:0/x', 'its port is not a number from 1 to 65535'],
    ['postgresql://a:p@ss/word@db/x', 'an @ in the user name or the password is written %40'],
    ['postgresql://a@db/x?hostaddr=10.0.0.1', 'its query has hostaddr, which is not known here: leave it out'],
    ['postgresql://a@db/x?service=prod', 'its query has service, which is not known here: leave it out'],
    [
      'postgresql://a@db/x?require_auth=scram-sha-256',
      'its query has require_auth, which is not known here: leave it out',
    ],
    // typed wrongly, it would mean no TLS, or another schema; what it is may be a part of a password
    ['postgresql://a@db/x?sslmod=verify-full', `${UNKNOWN} \\(did you mean sslmode\\?\\): ${REMEDY}`],
    ['postgresql://a@db/x?SSLMODE=verify-full', `${UNKNOWN} \\(did you mean sslmode\\?\\): ${REMEDY}`],
    ['postgresql://a@db/x?schema=chat', `${UNKNOWN}: ${REMEDY}`],
    ['postgresql://a:pass@db/x?word', `${UNKNOWN}: ${REMEDY}`],
    ['postgresql://a@d b/x', 'its host is no name and no address'],
    ['postgresql://a:%00@db/x', 'it contains a NUL character'],
    ['postgresql:a:p', 'it begins with neither `postgresql://` nor `postgres://`'],
    ['postgresql://a@db/x?sslmode=on', /^its sslmode is none of disable, allow, prefer/],
    ['postgresql://a@db/x?ssl=true', /^its sslmode is none of/],
    ['postgresql://a@db/x?sslmode=verify-ca', /^sslmode=verify-ca needs sslrootcert/],
    ['postgresql://a@db/x?sslmode=require&sslrootcert=system', 'sslrootcert=system needs sslmode=verify-full'],
    ['postgresql://a@db/x?sslcert=/c.pem', 'of sslcert and sslkey one is missing'],
  ])('%s: %s', (text, reason) => expect(parsePostgresUrl(text)).toEqual(expect.stringMatching(reason)));
});

describe('the database of a URL', () => {
  test.each([
    ['sqlite:///webui.db', 'webui.db'],
    ['sqlite:////data/webui.db', '/data/webui.db'],
    ['sqlite:///data/a%20b.db', 'data/a%20b.db'],
    ['sqlite:////data/webui.db?timeout=5', '/data/webui.db'],
  ])('%s is the file %s', (text, path) => expect(parseDatabaseUrl(text)).toEqual({ engine: 'sqlite', path }));

  test.each([
    ['sqlite://data/webui.db', 'three slashes'],
    ['sqlite:///', 'in memory'],
    ['sqlite://', 'three slashes'],
    ['sqlite:///file:webui.db?uri=true', '`file:` form'],
    ['sqlite+sqlcipher:///x.db', 'SQLCipher'],
    ['mysql://u:p@h/d', 'MySQL and MariaDB'],
    ['mysql+pymysql://u:p@h/d', 'MySQL and MariaDB'],
    ['mariadb://u:p@h/d', 'MySQL and MariaDB'],
    ['PostgreSQL://u:p@h/d', 'small letters'],
    ['/data/webui.db', ''],
    ['oracle://u:p@h/d', ''],
  ])('%s is none: %j', (text, reason) => {
    const read = parseDatabaseUrl(text);
    expect(read).toEqual(expect.stringContaining(reason));
    expect(read === '').toBe(reason === '');
  });

  test('of PostgreSQL is an address', () =>
    expect(parseDatabaseUrl('postgres://a@db/x')).toMatchObject({ engine: 'postgresql', address: { user: 'a' } }));
});
