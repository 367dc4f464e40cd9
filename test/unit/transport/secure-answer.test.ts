import { describe, expect, test } from 'vitest';
import type { SecurityHeader } from '../../../src/config/schema.ts';
import { secureAnswer } from '../../../src/transport/security-headers.ts';

const NONE: Record<SecurityHeader, string> = {
  'x-frame-options': 'backend',
  'x-content-type-options': 'backend',
  'x-xss-protection': 'backend',
  'referrer-policy': 'backend',
  'strict-transport-security': 'backend',
  'permissions-policy': 'backend',
  'cross-origin-resource-policy': 'backend',
  'cross-origin-opener-policy': 'backend',
  'cross-origin-embedder-policy': 'backend',
  'content-security-policy': 'backend',
  'content-security-policy-report-only': 'backend',
};

/** The lines that come of `lines`, each as `name: value`. */
function edited(
  lines: readonly (readonly [string, string])[],
  fields: Partial<Record<SecurityHeader, string>> = {},
  more: Partial<Parameters<typeof secureAnswer>[0]> & { status?: number } = {},
): string[] {
  const { status = 200, ...options } = more;
  const edit = secureAnswer({
    fields: { ...NONE, ...fields },
    backendFields: 'wins',
    stated: [],
    cookieRules: () => undefined,
    ...options,
  });
  const flat = lines.flat();
  edit(flat, status);
  const pairs: string[] = [];
  for (let index = 0; index < flat.length; index += 2) pairs.push(`${flat[index]}: ${flat[index + 1]}`);
  return pairs;
}

const FRAMES = { 'x-frame-options': 'SAMEORIGIN' };

describe('security fields', () => {
  test('are added behind what there is, in the order of the table', () => {
    const fields = { 'content-security-policy': "object-src 'none'", ...FRAMES };
    expect(edited([['content-type', 'text/html']], fields)).toEqual([
      'content-type: text/html',
      'x-frame-options: SAMEORIGIN',
      "content-security-policy: object-src 'none'",
    ]);
  });

  test.each([
    ['wins', 'SAMEORIGIN', 'DENY'],
    ['replaced', 'SAMEORIGIN', 'SAMEORIGIN'],
    ['wins', 'backend', 'DENY'],
    ['replaced', 'backend', 'DENY'],
  ] as const)('of the backend: it %s, with %s here', (backendFields, own, expected) => {
    expect(edited([['x-frame-options', 'DENY']], { 'x-frame-options': own }, { backendFields })).toEqual([
      `x-frame-options: ${expected}`,
    ]);
  });

  test.each(['wins', 'replaced'] as const)('that are off are in no answer, where the backend %s', (backendFields) => {
    expect(edited([['x-frame-options', 'DENY']], { 'x-frame-options': 'off' }, { backendFields })).toEqual([]);
  });

  test('of the backend that say the same several times say it once', () => {
    const lines = [
      ['x-frame-options', 'DENY'],
      ['a', '1'],
      ['x-frame-options', 'deny'],
      ['x-frame-options', 'DENY '],
    ] as const;
    expect(edited(lines, FRAMES)).toEqual(['a: 1', 'x-frame-options: DENY']);
  });

  test('of the backend that contradict each other count as none', () => {
    const lines = [
      ['x-frame-options', 'DENY'],
      ['x-frame-options', 'ALLOWALL'],
    ] as const;
    expect(edited(lines, FRAMES)).toEqual(['x-frame-options: SAMEORIGIN']);
    expect(edited(lines)).toEqual(['x-frame-options: DENY']);
  });

  test('of the backend without a value count as none', () => {
    expect(edited([['x-frame-options', ' ']], FRAMES)).toEqual(['x-frame-options: SAMEORIGIN']);
    expect(edited([['x-frame-options', '']])).toEqual([]);
  });

  test('that are lists are joined, so that no policy of the backend is lost and their order stays', () => {
    const lines = [
      ['content-security-policy', "default-src 'self'"],
      ['content-security-policy', "script-src 'nonce-A'"],
      ['referrer-policy', 'origin'],
      ['referrer-policy', 'no-referrer'],
      ['referrer-policy', 'origin'],
      ['permissions-policy', 'usb=()'],
      ['permissions-policy', 'usb=()'],
    ] as const;
    expect(edited(lines, { 'referrer-policy': 'unsafe-url' })).toEqual([
      'referrer-policy: origin, no-referrer, origin',
      'permissions-policy: usb=()',
      "content-security-policy: default-src 'self', script-src 'nonce-A'",
    ]);
  });

  test('of a 101 are those of the backend alone: there is nothing to show or to embed', () => {
    expect(edited([['upgrade', 'websocket']], FRAMES, { status: 101 })).toEqual(['upgrade: websocket']);
    const sent = [
      ['x-frame-options', 'DENY'],
      ['server', 'uvicorn'],
    ] as const;
    expect(edited(sent, { ...FRAMES, 'referrer-policy': 'origin' }, { status: 101 })).toEqual([
      'x-frame-options: DENY',
    ]);
  });

  test.each([204, 304, 404, 503])('are on a %i too', (status) => {
    expect(edited([], FRAMES, { status })).toEqual(['x-frame-options: SAMEORIGIN']);
  });

  test('do not remember an answer for the next', () => {
    const fields = { ...NONE, ...FRAMES };
    const edit = secureAnswer({ fields, backendFields: 'wins', stated: [], cookieRules: () => undefined });
    const first = ['x-frame-options', 'DENY'];
    const second: string[] = [];
    edit(first, 200);
    edit(second, 200);
    expect([first, second]).toEqual([
      ['x-frame-options', 'DENY'],
      ['x-frame-options', 'SAMEORIGIN'],
    ]);
  });
});

test.each(['server', 'via', 'x-powered-by', 'x-process-time', 'x-aspnet-version', 'x-generator'])(
  '%s is removed from each answer',
  (name) =>
    expect(
      edited([
        ['a', '1'],
        [name, 'x'],
        [name, 'y'],
        ['b', '2'],
      ]),
    ).toEqual(['a: 1', 'b: 2']),
);

test('lines of no concern keep their bytes, their order and their number', () => {
  const lines = [
    ['set-cookie', 'route=a; Path=/'],
    ['x-servers', 'uvicorn'],
    ['set-cookie', 'route=b,c'],
    ['etag', '"\u00e9"'],
    ['__proto__', 'x'],
    ['set-cookie', 'route=a; Path=/'],
  ] as const;
  expect(edited(lines)).toEqual(lines.map(([name, value]) => `${name}: ${value}`));
});

describe('cookies', () => {
  const cookieRules = (name: string) =>
    name === 'token' ? ({ secure: true, sameSite: 'strict' } as const) : undefined;

  test('obey the rules of their name, one line each, where they stand', () => {
    const lines = [
      ['set-cookie', 'token=a,b; Path=/; SameSite=lax'],
      ['content-type', 'application/json'],
      ['set-cookie', 'other=1; SameSite=lax'],
      ['set-cookie', 'token=c'],
    ] as const;
    expect(edited(lines, {}, { cookieRules })).toEqual([
      'set-cookie: token=a,b; Path=/; SameSite=strict; Secure',
      'content-type: application/json',
      'set-cookie: other=1; SameSite=lax',
      'set-cookie: token=c; SameSite=strict; Secure',
    ]);
  });

  test('of a 101 obey them too', () => {
    expect(edited([['set-cookie', 'token=a']], {}, { cookieRules, status: 101 })).toEqual([
      'set-cookie: token=a; SameSite=strict; Secure',
    ]);
  });
});
