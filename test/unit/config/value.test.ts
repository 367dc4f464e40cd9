import { describe, expect, test } from 'vitest';
import { collectRawSettings } from '../../../src/config/parse.ts';
import { type SettingName, readValues } from '../../../src/config/settings.ts';
import * as value from '../../../src/config/value.ts';

const read = (schema: { safeParse(text: string): { success: boolean; data?: unknown } }, text: string): unknown => {
  const result = schema.safeParse(text);
  return result.success ? result.data : 'refused';
};
/** The same of a setting by its name. */
const set = (name: SettingName, text: string): unknown => {
  const { values } = readValues({ [name]: text });
  return values === undefined ? 'refused' : values[name];
};

describe('durations', () => {
  const schema = value.duration('1ms', '1h');
  test.each([
    ['1ms', 1],
    ['30s', 30_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['0s', 'refused'],
    ['61m', 'refused'],
    ['30', 'refused'],
    ['1.5s', 'refused'],
    ['30 s', 'refused'],
    ['30S', 'refused'],
    ['-1s', 'refused'],
    ['', 'refused'],
    ['1000000000s', 'refused'],
  ])('%j is read as %j', (text, expected) => expect(read(schema, text)).toBe(expected));
});

describe('forms of the log', () => {
  test.each([
    ['json', 'json'],
    ['JSON', 'json'],
    ['Text', 'text'],
    ['pretty', 'refused'],
    ['', 'refused'],
  ])('%j is read as %j', (text, expected) => expect(set('LOG_FORMAT', text)).toBe(expected));
});

describe('sizes', () => {
  const schema = value.size('1KB', '1GB');
  test.each([
    ['1024B', 1024],
    ['1KB', 1024],
    ['100MB', 104_857_600],
    ['1gb', 1_073_741_824],
    ['2GB', 'refused'],
    ['1023B', 'refused'],
    ['100', 'refused'],
    ['100M', 'refused'],
    ['1.5MB', 'refused'],
  ])('%j is read as %j bytes', (text, expected) => expect(read(schema, text)).toBe(expected));
});

describe('origins', () => {
  test.each([
    ['*', 'any'],
    ['https://a.test', new Set(['https://a.test'])],
    ['https://a.test;http://b.test:5173', new Set(['https://a.test', 'http://b.test:5173'])],
    // of a desktop application (CORS_ALLOW_CUSTOM_SCHEME)
    ['app://localhost', new Set(['app://localhost'])],
    // matches nothing, but the backend takes it
    ['https://a.test/', new Set(['https://a.test/'])],
    ['*;https://a.test', 'refused'],
    ['https://a.test;', 'refused'],
    ['https://a.test,https://b.test', 'refused'],
    ['a.test', 'refused'],
    ['https://', 'refused'],
    ['', 'refused'],
  ])('%j are read as %j', (text, expected) => expect(set('CORS_ALLOW_ORIGIN', text)).toEqual(expected));
});

describe('the backend address', () => {
  test.each(['http://open-webui:8080', 'https://chat.example.com', 'http://[::1]:3000/', 'http://10.0.0.2'])(
    '%s is accepted',
    (text) => {
      expect(read(value.origin, text)).toBeInstanceOf(URL);
    },
  );
  test.each([
    'open-webui',
    'ftp://x',
    'http://u:p@x',
    'http://u@x',
    'http://x/path',
    'http://x?a',
    'http://x#a',
    'http://',
  ])('%s is refused', (text) => expect(read(value.origin, text)).toBe('refused'));
});

describe('hosts, ports and header names', () => {
  test.each(['0.0.0.0', '::', 'localhost', 'gate-1.internal'])('%s is a host', (text) =>
    expect(set('MODELGATE_HOST', text)).toBe(text),
  );
  test.each(['', '[::1]', 'a b', '-a', 'a..b', 'http://a', 'a:80'])('%j is no host', (text) =>
    expect(set('MODELGATE_HOST', text)).toBe('refused'),
  );
  test.each(['0', '80', '65535'])('%s is a port', (text) => expect(set('MODELGATE_PORT', text)).toBe(Number(text)));
  test.each(['', '65536', '-1', '8e1', ' 80', '0x50'])('%j is no port', (text) =>
    expect(set('MODELGATE_PORT', text)).toBe('refused'),
  );
  test.each(['X-Api-Key', 'x-openwebui-key'])('%s may carry an API key', (text) => {
    expect(read(value.headerName, text)).toBe(text.toLowerCase());
  });
  test.each(['Authorization', 'cookie', 'Host', 'Transfer-Encoding', 'x_api_key', 'x key', 'ключ', ''])(
    '%j may not',
    (text) => {
      expect(read(value.headerName, text)).toBe('refused');
    },
  );
});

describe('log levels', () => {
  test.each([
    ['DEBUG', 'debug'],
    ['INFO', 'info'],
    ['WARNING', 'warn'],
    ['Error', 'error'],
    ['CRITICAL', 'fatal'],
    ['trace', 'trace'],
    ['constructor', 'refused'],
    ['__proto__', 'refused'],
  ])('%s means %s', (text, expected) => expect(set('LOG_LEVEL', text)).toBe(expected));
});

describe('address ranges', () => {
  test.each([
    ['10.0.0.0/8', '10.0.0.0', 8, 'ipv4'],
    ['192.168.1.7', '192.168.1.7', 32, 'ipv4'],
    ['0.0.0.0/0', '0.0.0.0', 0, 'ipv4'],
    ['fd00::/8', 'fd00::', 8, 'ipv6'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1', 128, 'ipv6'],
    ['::/0', '::', 0, 'ipv6'],
    ['::ffff:10.0.0.0/104', '::ffff:a00:0', 104, 'ipv6'],
    ['::10.0.0.0/104', '::a00:0', 104, 'ipv6'],
  ])('%s is a range', (text, address, prefix, family) =>
    expect(read(value.cidrs, text)).toEqual([{ address, prefix, family }]),
  );

  test.each([
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'fe80::1%eth0',
    '::/129',
    'nginx',
  ])('%j is none', (text) => expect(read(value.cidrs, text)).toBe('refused'));

  test.each([
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['2001:db8::1/32', '2001:db8::/32'],
    ['::1/0', '::/0'],
  ])('%s, with bits set behind the prefix, is refused and %s offered', (text, remedy) => {
    expect(value.cidrs.safeParse(text).error?.issues[0]?.message).toContain(`write ${remedy}`);
  });
});

describe('the name that was meant', () => {
  const remedyFor = (name: string) => {
    const file = { name: 'gate.yaml', values: { [name]: '1' } };
    return collectRawSettings({ environment: {}, directory: '/', readSecret: () => '', file }).issues[0]?.expected;
  };
  test.each([
    ['MODELGATE_PROT', 'MODELGATE_PORT'],
    ['MODELGATE_MODUS', 'MODELGATE_MODE'],
    ['MODELGATE_UPSTREAM', 'MODELGATE_UPSTREAM_URL'],
    ['MODELGATE_DATABASE_URL', 'DATABASE_URL'],
    ['MODELGATE_LOG_LEVEL', 'LOG_LEVEL'],
    ['modelgate-port', 'MODELGATE_PORT'],
    ['MODELGATE_SOMETHING_ELSE', undefined],
    ['MODELGATE_', undefined],
    ['X'.repeat(100_000), undefined],
  ])('of %s is %s', (name, meant) => {
    expect(/did you mean (\w+)/.exec(remedyFor(name) ?? '')?.[1]).toBe(meant);
  });
});
