/**
 * Security headers of every answer. Browsers ignore what they do not know, so names and directives are checked, not only
 * characters.
 */
import { z } from 'zod';
import { lastReason, oneOf, string } from './value.ts';

/** nginx answers 502 by default when all of an answer's headers exceed 4 KB (`proxy_buffer_size`). */
const LONGEST_VALUE = 3_000;
const printable = string
  .regex(/^[\x20-\x7e]*$/, 'it contains a line break, a control character or a character that is not ASCII')
  .max(LONGEST_VALUE, `it is longer than ${LONGEST_VALUE} characters`)
  .refine((text) => text === text.trim(), 'there is a space at one of its ends');

/** `off`, `backend`, or a value of this kind. */
export const headerValue = (kind: z.ZodType<string, string>) =>
  z
    .union([z.enum(['off', 'backend']), printable.pipe(kind)], lastReason)
    .describe(`${kind.description ?? ''}; \`off\` or \`backend\``);

/** One of these words in any letter case, read as browsers' documents write it. */
const anyOf = (...words: readonly string[]) =>
  string
    .transform((text) => words.find((word) => word.toLowerCase() === text.toLowerCase()))
    .pipe(string)
    .describe(oneOf(words));

/** One of these words, with the name of an endpoint for reports if meant. */
const policyWord = (...words: readonly string[]) =>
  string.regex(new RegExp(`^(?:${words.join('|')})(?:; ?report-to="[\\w-]+")?$`)).describe(oneOf(words));

// RFC 7034; `ALLOW-FROM` is known to no browser of today
export const frameOptions = anyOf('SAMEORIGIN', 'DENY');
export const contentTypeOptions = anyOf('nosniff');
export const resourcePolicy = anyOf('same-origin', 'same-site', 'cross-origin');
export const openerPolicy = policyWord(
  'same-origin-allow-popups',
  'same-origin',
  'noopener-allow-popups',
  'unsafe-none',
);
export const embedderPolicy = policyWord('require-corp', 'credentialless', 'unsafe-none');
export const xssProtection = string
  .regex(/^(?:0|1|1; ?mode=block|1; ?report=\S+)$/)
  .describe('`0`, `1` or `1; mode=block`');

/** A list. @param faultOf what is wrong with an item */
const everyItem = (separator: RegExp, faultOf: (item: string) => string | undefined) =>
  string.superRefine((text, context) => {
    const [fault] = text.split(separator).flatMap((item) => faultOf(item.trim()) ?? []);
    if (fault !== undefined) context.addIssue(fault);
  });

const REFERRER_POLICY =
  /^(?:no-referrer(?:-when-downgrade)?|(?:strict-)?origin(?:-when-cross-origin)?|same-origin|unsafe-url)$/;

/** Browsers take the last one of several that they know. */
export const referrerPolicies = everyItem(/,/, (policy) =>
  REFERRER_POLICY.test(policy) ? undefined : `${JSON.stringify(policy)} is no referrer policy`,
).describe('a referrer policy, or several separated by commas');

const YEAR_S = 31_536_000;
const TRANSPORT_DIRECTIVE = /^(?:max-age=\d{1,10}|includeSubDomains|preload)$/i;

/** RFC 6797 6.1; `preload` is a word of the browsers' common list, which asks for a year and for subdomains. */
export const transportSecurity = everyItem(/;/, (directive) =>
  TRANSPORT_DIRECTIVE.test(directive) ? undefined : `${JSON.stringify(directive.toLowerCase())} is no directive of it`,
)
  .refine((text) => text.match(/max-age/gi)?.length === 1, 'it needs exactly one `max-age=SECONDS`')
  .refine(
    (text) => !/preload/i.test(text) || (/includeSubDomains/i.test(text) && Number(/\d+/.exec(text)?.[0]) >= YEAR_S),
    `\`preload\` needs includeSubDomains and a max-age of at least ${YEAR_S}`,
  )
  .describe('`max-age=SECONDS`, with `; includeSubDomains` and `; preload` if meant');

/** `camera=()`, `camera=(self)`, `camera=*`, `camera=self`, `camera=(self "https://a.example")` (RFC 9651 3.2). */
const PERMITTED = '(?:\\*|self|src|"[^"\\\\]*")';
const PERMISSION = new RegExp(`^[a-z][a-z0-9-]*=(?:\\*|self|\\((?:${PERMITTED}(?: +${PERMITTED})*)?\\))$`);

/** W3C, Permissions Policy. Names are not checked, because browsers add some every year. */
export const permissions = everyItem(/,/, (permission) => {
  if (PERMISSION.test(permission)) return undefined;
  const isOld = / '(?:self|none)'|^[a-z-]+ /.test(permission);
  const why = isOld ? ': this is how the old Feature-Policy was written' : '';
  return `${JSON.stringify(permission)} is no permission${why}`;
}).describe('permissions such as `camera=(self)` separated by commas');

export const DEFAULT_PERMISSIONS = [
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
export const csp = everyItem(/[;,]/, (directive) => {
  const [name = ''] = directive.split(' ');
  return CSP_DIRECTIVES.has(name.toLowerCase()) ? undefined : `${JSON.stringify(name)} is no directive of it`;
})
  .refine((text) => /[^;, ]/.test(text), 'it has no directive')
  .describe('directives separated by semicolons');

const corsOrigin = string.regex(/^[a-z][a-z\d+.-]*:\/\/[^\s/]/i, {
  error: ({ input }) => `${JSON.stringify(input)} is no origin`,
});

/** As the backend reads `CORS_ALLOW_ORIGIN` (0.6.18 and 0.12.4), which compares texts: nothing is put right here. */
export const origins = z
  .union(
    [
      z.literal('*').transform(() => 'any' as const),
      string
        .refine((text) => !text.includes(','), 'semicolons stand between origins, not commas')
        .transform((text) => text.split(';'))
        .pipe(z.array(corsOrigin))
        .transform((list): ReadonlySet<string> => new Set(list)),
    ],
    lastReason,
  )
  .describe('`*`, or origins separated by semicolons');
