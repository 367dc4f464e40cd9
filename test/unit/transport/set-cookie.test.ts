import { describe, expect, test } from 'vitest';
import type { CookieRules } from '../../../src/config/schema.ts';
import { cookieName, enforceCookie } from '../../support/gate/set-cookie.ts';

const NOTHING: CookieRules = { secure: false, sameSite: undefined };
const SECURE: CookieRules = { secure: true, sameSite: undefined };
const STRICT: CookieRules = { secure: false, sameSite: 'strict' };
const ALL: CookieRules = { secure: true, sameSite: 'none' };

/** As Starlette writes it (0.45 in 0.6.18 and 1.7 in 0.12.4). */
const TOKEN = 'token=ey.J.x; expires=Mon, 30 Nov 2026 18:00:00 GMT; HttpOnly; Max-Age=604800; Path=/; SameSite=lax';

describe('the name of a cookie', () => {
  test.each([
    ['token=a', 'token'],
    ['token=a; Path=/', 'token'],
    [' \ttoken \t= a', 'token'],
    ['token==', 'token'],
    ['=token=a', ''],
    ['token', ''],
    ['token; a=b', ''],
    ['', ''],
    ['__Host-token=a', '__Host-token'],
    ['"token"=a', '"token"'],
    ['\u00a0token=a', '\u00a0token'],
  ])('of %j is %j, as a browser reads it', (line, name) => expect(cookieName(line)).toBe(name));
});

describe('a cookie under rules', () => {
  test.each([
    ['nothing asked for', NOTHING, TOKEN, TOKEN],
    ['Secure is added at the end', SECURE, TOKEN, `${TOKEN}; Secure`],
    ['SameSite changes where it stands', STRICT, TOKEN, TOKEN.replace('=lax', '=strict')],
    ['both', ALL, TOKEN, `${TOKEN.replace('=lax', '=none')}; Secure`],
    ['SameSite is added where there is none', STRICT, 'token=a; Path=/', 'token=a; Path=/; SameSite=strict'],
    ['a line without attributes', ALL, 'token=a', 'token=a; SameSite=none; Secure'],
    ['a semicolon at the end is none too many', SECURE, 'token=a; Path=/; ', 'token=a; Path=/; Secure'],
    ['an empty line of attributes', SECURE, 'token=a;', 'token=a; Secure'],
    [
      'the sign-out',
      ALL,
      'token=""; Max-Age=0; Path=/; SameSite=lax',
      'token=""; Max-Age=0; Path=/; SameSite=none; Secure',
    ],
    [
      'a repeated SameSite, of which the last would count',
      STRICT,
      'a=b; SameSite=strict; SameSite=none',
      'a=b; SameSite=strict',
    ],
    [
      'a repeated SameSite in odd letters',
      STRICT,
      'a=b; sAmEsItE=none;samesite; Path=/',
      'a=b; SameSite=strict; Path=/',
    ],
    ['SameSite without a value', STRICT, 'a=b; SameSite', 'a=b; SameSite=strict'],
    ['Secure inside of quotes, where a browser sees it', SECURE, 'a="b; Secure; c"', 'a="b; Secure; c"'],
    ['secure in the value', SECURE, 'a=secure', 'a=secure; Secure'],
    ['a cookie named secure', SECURE, 'secure=1; Path=/', 'secure=1; Path=/; Secure'],
    ['secure at the end of quotes, where no browser sees it', SECURE, 'a="b;Secure"', 'a="b;Secure"; Secure'],
    ['an octal escape of Starlette', SECURE, 'a="b\\073 Secure"', 'a="b\\073 Secure"; Secure'],
    [
      'Secure with a value too long to count',
      SECURE,
      `a=b; Secure=${'x'.repeat(1025)}`,
      `a=b; Secure=${'x'.repeat(1025)}; Secure`,
    ],
    ['a no-break space is part of a name', SECURE, 'a=b; \u00a0Secure', 'a=b; \u00a0Secure; Secure'],
  ])('%s', (_what, rules, line, expected) => expect(enforceCookie(line, rules)).toBe(expected));

  test.each(['Secure', 'secure', ' SECURE ', 'secure=false', '\tSecure'])('is Secure already with %j', (attribute) => {
    const line = `a=b; Path=/;${attribute}; HttpOnly`;
    expect(enforceCookie(line, SECURE)).toBe(line);
  });

  test.each(['SameSite=Strict', 'samesite = strict', '  SAMESITE=STRICT'])('keeps the spelling of %j', (attribute) => {
    const line = `a=b;${attribute};  Path=/ ;`;
    expect(enforceCookie(line, STRICT)).toBe(line);
  });

  test('never loses Secure', () => expect(enforceCookie('a=b; Secure', NOTHING)).toBe('a=b; Secure'));
});
