import type { CookieRules } from '../../../src/config/schema.ts';
import { secureAnswer } from '../../../src/transport/security-headers.ts';

/** No rule at all. */
const NOTHING: CookieRules = { secure: false, sameSite: undefined };

/** @returns a line of `Set-Cookie` as an answer has it after these rules */
export function enforceCookie(line: string, rules: CookieRules): string {
  return edited(line, rules).line;
}

/** @returns the name by which the rules for this line are looked up */
export function cookieName(line: string): string | undefined {
  return edited(line, NOTHING).name;
}

function edited(line: string, rules: CookieRules): { name: string | undefined; line: string } {
  let asked: string | undefined;
  const cookieRules = (name: string): CookieRules => {
    asked = name;
    return rules;
  };
  const lines = ['set-cookie', line];
  secureAnswer({ fields: NO_FIELDS, backendFields: 'wins', stated: [], cookieRules })(lines, 200);
  return { name: asked, line: lines[1] ?? '' };
}

const NO_FIELDS = {
  'x-frame-options': 'off',
  'x-content-type-options': 'off',
  'x-xss-protection': 'off',
  'referrer-policy': 'off',
  'strict-transport-security': 'off',
  'permissions-policy': 'off',
  'cross-origin-resource-policy': 'off',
  'cross-origin-opener-policy': 'off',
  'cross-origin-embedder-policy': 'off',
  'content-security-policy': 'off',
  'content-security-policy-report-only': 'off',
};
