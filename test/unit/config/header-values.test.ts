import { describe, expect, test } from 'vitest';
import { type SettingName, SETTING_NAMES, describeSetting } from '../../../src/config/settings.ts';

const schemaOf = (name: SettingName) => describeSetting(name).schema;
const ALL = SETTING_NAMES.filter((name) => /^MODELGATE_HEADERS_(?!BACKEND$)/.test(name));

describe.each(ALL)('%s', (name) => {
  const schema = schemaOf(name);

  test.each(['off', 'backend'])('may be %s', (word) => expect(schema.parse(word)).toBe(word));

  test.each([
    ['a line break', 'DENY\r\nSet-Cookie: a=b'],
    ['a line feed', '0\n'],
    ['a NUL', 'nosniff\0'],
    ['a tab', 'same-origin\t'],
    ['a quote that is not ASCII', '\u2018self\u2019'],
    ['a space before it', ' off'],
    ['nothing', ''],
    ['a length that nginx would not take', `default-src ${'a'.repeat(4_000)}`],
    ['a word in other letters', 'OFF'],
  ])('is no text with %s', (_what, text) => expect(schema.safeParse(text).success).toBe(false));
});

const accepts = (schema: ReturnType<typeof schemaOf>, text: string): boolean => schema.safeParse(text).success;

test.each([
  'camera=()',
  'camera=(self)',
  'camera=self',
  'camera=*',
  'camera=(*)',
  'camera=(self "https://a.example" "https://b.example"), usb=()',
  'camera=(),usb=()',
])('%s are permissions', (text) => expect(accepts(schemaOf('MODELGATE_HEADERS_PERMISSIONS_POLICY'), text)).toBe(true));

test.each([
  "camera 'self'",
  'camera',
  'camera=',
  'camera=none',
  'camera=(none)',
  "camera=('self')",
  'camera=(self',
  'camera=(self"https://a.example")',
  'camera=();usb=()',
  'camera=(), ',
  'Camera=()',
  `camera=(${'"'.repeat(2_000)}`,
])('%s are none', (text) => expect(accepts(schemaOf('MODELGATE_HEADERS_PERMISSIONS_POLICY'), text)).toBe(false));

test.each(['max-age=0', 'max-age=31536000; includeSubDomains; preload', 'MAX-AGE=1;includesubdomains'])(
  '%s is a transport security',
  (text) => expect(accepts(schemaOf('MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY'), text)).toBe(true),
);

test.each(['31536000', 'max-age=1y', 'max-age=1; max-age=2', 'max-age=1;', 'includeSubDomains', 'max-age=1; preload'])(
  '%s is none',
  (text) => expect(accepts(schemaOf('MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY'), text)).toBe(false),
);

test.each([
  "default-src 'self'",
  "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; img-src * data: blob:;",
  "default-src 'none', frame-ancestors 'self'",
  'sandbox',
  'Upgrade-Insecure-Requests',
])('%s is a content security policy', (text) =>
  expect(accepts(schemaOf('MODELGATE_HEADERS_CONTENT_SECURITY_POLICY'), text)).toBe(true),
);

test.each([';', ' ', "'self'", 'defualt-src *', 'default-src=self'])('%s is none', (text) =>
  expect(accepts(schemaOf('MODELGATE_HEADERS_CONTENT_SECURITY_POLICY'), text)).toBe(false),
);
