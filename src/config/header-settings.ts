/**
 * Security headers and cookies of every answer. The defaults change nothing for the page of Open WebUI (0.6.18 and 0.12.4,
 * in Chromium). Browsers ignore what they do not know, so names and directives are checked, not only characters.
 */
import { z } from 'zod';
import { backendWord, boolean, choice, flag, lastReason, oneOf, setting, settingWithDefault, string } from './value.ts';

/** nginx answers 502 by default when all of an answer's headers exceed 4 KB (`proxy_buffer_size`). */
const LONGEST_VALUE = 3_000;
const printable = string
  .regex(/^[\x20-\x7e]*$/, 'it contains a line break, a control character or a character that is not ASCII')
  .max(LONGEST_VALUE, `it is longer than ${LONGEST_VALUE} characters`)
  .refine((text) => text === text.trim(), 'there is a space at one of its ends');

type Kind = readonly [schema: z.ZodType<string, string>, expected: string];

/** `off`, `backend`, or a value of this kind. */
const header = (name: string, [schema, expected]: Kind, [fallback, example]: readonly [string, string], meaning = '') =>
  settingWithDefault(z.union([z.enum(['off', 'backend']), printable.pipe(schema)], lastReason), fallback, {
    expected: `${expected}; \`off\` or \`backend\``,
    example,
    meaning: `\`${name}\`. ${meaning}`.trimEnd(),
  });

/** One of these words in any letter case, read as browsers' documents write it. */
const anyOf = (...words: readonly string[]): Kind => [
  string.transform((text) => words.find((word) => word.toLowerCase() === text.toLowerCase())).pipe(string),
  oneOf(words),
];

const policyWord = (...words: readonly string[]): Kind => [
  string.regex(new RegExp(`^(?:${words.join('|')})(?:; ?report-to="[\\w-]+")?$`)),
  oneOf(words),
];

/** A list. @param faultOf what is wrong with an item */
const everyItem = (separator: RegExp, faultOf: (item: string) => string | undefined) =>
  string.superRefine((text, context) => {
    const [fault] = itemsOf(text, separator).flatMap((item) => faultOf(item) ?? []);
    if (fault !== undefined) context.addIssue(fault);
  });

const itemsOf = (text: string, separator: RegExp): string[] => text.split(separator).map((item) => item.trim());

const REFERRER_POLICY =
  /^(?:no-referrer(?:-when-downgrade)?|(?:strict-)?origin(?:-when-cross-origin)?|same-origin|unsafe-url)$/;

/** Browsers take the last one of several that they know. */
const referrerPolicies = everyItem(/,/, (policy) =>
  REFERRER_POLICY.test(policy) ? undefined : `${JSON.stringify(policy)} is no referrer policy`,
);

const YEAR_S = 31_536_000;
const MAX_AGE = /^max-age=(\d{1,10})$/i;

const agesOf = (text: string): number[] =>
  itemsOf(text, /;/).flatMap((directive) => MAX_AGE.exec(directive)?.slice(1).map(Number) ?? []);

/** RFC 6797 6.1; `preload` is a word of the browsers' common list, which asks for a year and for subdomains. */
const transportSecurity = everyItem(/;/, (directive) => {
  const isKnown = MAX_AGE.test(directive) || /^(?:includeSubDomains|preload)$/i.test(directive);
  return isKnown ? undefined : `${JSON.stringify(directive.toLowerCase())} is no directive of it`;
})
  .refine((text) => agesOf(text).length === 1, 'it needs exactly one `max-age=SECONDS`')
  .refine(
    (text) => !/preload/i.test(text) || (/includeSubDomains/i.test(text) && (agesOf(text)[0] ?? 0) >= YEAR_S),
    `\`preload\` needs includeSubDomains and a max-age of at least ${YEAR_S}`,
  );

/** `camera=()`, `camera=(self)`, `camera=*`, `camera=self`, `camera=(self "https://a.example")` (RFC 9651 3.2). */
const PERMITTED = '(?:\\*|self|src|"[^"\\\\]*")';
const PERMISSION = new RegExp(`^[a-z][a-z0-9-]*=(?:\\*|self|\\((?:${PERMITTED}(?: +${PERMITTED})*)?\\))$`);

/** W3C, Permissions Policy. Names are not checked, because browsers add some every year. */
const permissions = everyItem(/,/, (permission) => {
  if (PERMISSION.test(permission)) return undefined;
  const isOld = / '(?:self|none)'|^[a-z-]+ /.test(permission);
  const why = isOld ? ': this is how the old Feature-Policy was written' : '';
  return `${JSON.stringify(permission)} is no permission${why}`;
});

const DEFAULT_PERMISSIONS = [
  ...['camera=(self)', 'display-capture=(self)', 'geolocation=(self)', 'hid=()', 'magnetometer=()'],
  ...['microphone=(self)', 'midi=()', 'payment=()', 'serial=()', 'usb=()', 'xr-spatial-tracking=()'],
].join(', ');

const CSP_DIRECTIVES: ReadonlySet<string> = new Set([
  ...['', 'default-src', 'script-src', 'script-src-elem', 'script-src-attr', 'style-src', 'style-src-elem'],
  ...['style-src-attr', 'img-src', 'font-src', 'connect-src', 'media-src', 'object-src', 'child-src', 'frame-src'],
  ...['worker-src', 'manifest-src', 'prefetch-src', 'base-uri', 'form-action', 'frame-ancestors', 'navigate-to'],
  ...['sandbox', 'report-uri', 'report-to', 'upgrade-insecure-requests', 'block-all-mixed-content'],
  ...['require-trusted-types-for', 'trusted-types', 'fenced-frame-src', 'webrtc'],
]);

/** Names are checked, values are not. */
const contentSecurityPolicy: Kind = [
  everyItem(/[;,]/, (directive) => {
    const [name = ''] = directive.split(' ');
    return CSP_DIRECTIVES.has(name.toLowerCase()) ? undefined : `${JSON.stringify(name)} is no directive of it`;
  }).refine((text) => /[^;, ]/.test(text), 'it has no directive'),
  'directives separated by semicolons',
];
const CSP_EXAMPLE = "frame-ancestors 'self'; object-src 'none'";

const corsOrigin = string.regex(/^[a-z][a-z\d+.-]*:\/\/[^\s/]/i, {
  error: ({ input }) => `${JSON.stringify(input)} is no origin`,
});

/** As the backend reads `CORS_ALLOW_ORIGIN` (0.6.18 and 0.12.4), which compares texts: nothing is put right here. */
const origins = z.union(
  [
    z.literal('*').transform(() => 'any' as const),
    string
      .refine((text) => !text.includes(','), 'semicolons stand between origins, not commas')
      .transform((text) => text.split(';'))
      .pipe(z.array(corsOrigin))
      .transform((list): ReadonlySet<string> => new Set(list)),
  ],
  lastReason,
);

export const HEADER_SETTINGS = {
  MODELGATE_HEADERS_BACKEND: choice(
    ['wins', 'replaced'],
    "Whether the backend's own line of a header below stays, where it sends one. For each header: a value, `off` (in no answer: nginx adds it, say), or `backend` (the backend's own alone).",
  ),
  // RFC 7034; `ALLOW-FROM` is known to no browser of today
  MODELGATE_HEADERS_FRAME_OPTIONS: header(
    'X-Frame-Options',
    anyOf('SAMEORIGIN', 'DENY'),
    ['SAMEORIGIN', 'DENY'],
    'Other sites cannot show the page in a frame.',
  ),
  MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: header('X-Content-Type-Options', anyOf('nosniff'), ['nosniff', 'nosniff']),
  MODELGATE_HEADERS_XSS_PROTECTION: header(
    'X-XSS-Protection',
    [string.regex(/^(?:0|1|1; ?mode=block|1; ?report=\S+)$/), '`0`, `1` or `1; mode=block`'],
    ['1; mode=block', '0'],
    "The guide's value; browsers of today ignore it, and the advice of today is `0`.",
  ),
  MODELGATE_HEADERS_REFERRER_POLICY: header(
    'Referrer-Policy',
    [referrerPolicies, 'a referrer policy, or several separated by commas'],
    ['strict-origin-when-cross-origin', 'no-referrer'],
  ),
  MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY: header(
    'Strict-Transport-Security',
    [transportSecurity, '`max-age=SECONDS`, with `; includeSubDomains` and `; preload` if meant'],
    ['max-age=31536000', 'max-age=63072000; includeSubDomains'],
    'Only where a trusted proxy says `X-Forwarded-Proto: https`.',
  ),
  MODELGATE_HEADERS_PERMISSIONS_POLICY: header(
    'Permissions-Policy',
    [permissions, 'permissions such as `camera=(self)` separated by commas'],
    [DEFAULT_PERMISSIONS, 'camera=(self), usb=()'],
    'Leaves to the page whatever Open WebUI uses.',
  ),
  MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY: header(
    'Cross-Origin-Resource-Policy',
    anyOf('same-origin', 'same-site', 'cross-origin'),
    ['same-site', 'same-origin'],
    'Always `cross-origin` on `/pyodide/`, which the page loads into a frame without an origin.',
  ),
  MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY: header(
    'Cross-Origin-Opener-Policy',
    policyWord('same-origin-allow-popups', 'same-origin', 'noopener-allow-popups', 'unsafe-none'),
    ['backend', 'same-origin-allow-popups'],
    'Any value but `unsafe-none` cuts off pages that open this one: the import from openwebui.com, the sign-in to OneDrive.',
  ),
  MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY: header(
    'Cross-Origin-Embedder-Policy',
    policyWord('require-corp', 'credentialless', 'unsafe-none'),
    ['backend', 'credentialless'],
    'Breaks pictures and frames of other sites.',
  ),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: header('Content-Security-Policy', contentSecurityPolicy, [
    'backend',
    CSP_EXAMPLE,
  ]),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY: header(
    'Content-Security-Policy-Report-Only',
    contentSecurityPolicy,
    ['backend', `${CSP_EXAMPLE}; report-uri /csp`],
    'Try a policy with it first.',
  ),
  CORS_ALLOW_ORIGIN: settingWithDefault(origins, '*', {
    expected: '`*`, or origins separated by semicolons',
    example: 'https://intranet.company.com;https://wiki.company.com',
    meaning:
      "The backend's own setting: origins whose pages may read its answers, and so the gate's own. `Retry-After`, `RateLimit…` and `X-Request-Id` are exposed to them.",
  }),
  WEBUI_SESSION_COOKIE_SECURE: flag(
    'false',
    "The backend's own setting: `true` adds `Secure` to its session cookies, which browsers then send and keep over https only. `false` takes none away.",
  ),
  WEBUI_SESSION_COOKIE_SAME_SITE: backendWord(
    ['lax', 'strict', 'none'],
    "The backend's own setting: `SameSite` of its session cookies. `strict` breaks OAuth sign-in. Not set: as the backend writes it.",
  ),
  WEBUI_AUTH_COOKIE_SECURE: setting(boolean, {
    expected: '`true` or `false`',
    example: 'true',
    meaning:
      "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SECURE` decides.",
  }),
  WEBUI_AUTH_COOKIE_SAME_SITE: backendWord(
    ['lax', 'strict', 'none'],
    "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SAME_SITE` decides.",
  ),
} as const;
