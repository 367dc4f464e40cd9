/**
 * How the value of each security header is spelled. Browsers ignore what they do not know, so a typing mistake would
 * switch a protection off silently: names and directives are checked, not only characters.
 */
import { z } from 'zod';
import { lastReason } from './value.ts';

/** nginx answers 502 by default when all of an answer's headers exceed 4 KB (`proxy_buffer_size`). */
const LONGEST_VALUE = 3_000;

const printable = z
  .string()
  .regex(/^[\x20-\x7e]*$/, 'it contains a line break, a control character or a character that is not ASCII')
  .max(LONGEST_VALUE, `it is longer than ${LONGEST_VALUE} characters`)
  .refine((text) => text === text.trim(), 'there is a space at one of its ends');

/** `off`, `backend`, or a value that `schema` accepts. */
const headerValue = (schema: z.ZodType<string, string>) =>
  z.union([z.enum(['off', 'backend']), printable.pipe(schema)], lastReason);

/** One of these words in any letter case. @returns the word as browsers' documents write it */
const anyOf = (...words: readonly string[]) =>
  headerValue(
    z
      .string()
      .transform((text) => words.find((word) => word.toLowerCase() === text.toLowerCase()))
      .pipe(z.string()),
  );

/** A list whose items are each good. @param describe what is wrong with an item that is not */
const everyItem = (separator: RegExp, isGood: (item: string) => boolean, describe: (item: string) => string) =>
  z.string().superRefine((text, context) => {
    const wrong = itemsOf(text, separator).find((item) => !isGood(item));
    if (wrong !== undefined) context.addIssue(describe(wrong));
  });

const itemsOf = (text: string, separator: RegExp): string[] => text.split(separator).map((item) => item.trim());

/** RFC 7034; `ALLOW-FROM` is known to no browser of today. */
export const frameOptions = anyOf('SAMEORIGIN', 'DENY');
/** The Fetch standard. */
export const contentTypeOptions = anyOf('nosniff');
/** The Fetch standard. */
export const resourcePolicy = anyOf('same-origin', 'same-site', 'cross-origin');

/** Of no standard: what browsers took until they dropped their filters. */
export const xssProtection = headerValue(z.string().regex(/^(?:0|1|1; ?mode=block|1; ?report=\S+)$/));

const REFERRER_POLICIES: ReadonlySet<string> = new Set([
  ...['no-referrer', 'no-referrer-when-downgrade', 'origin', 'origin-when-cross-origin', 'same-origin'],
  ...['strict-origin', 'strict-origin-when-cross-origin', 'unsafe-url'],
]);

/** Browsers take the last one of several that they know. */
export const referrerPolicy = headerValue(
  everyItem(
    /,/,
    (policy) => REFERRER_POLICIES.has(policy),
    (policy) => `${JSON.stringify(policy)} is no referrer policy`,
  ),
);

const YEAR_S = 31_536_000;
const MAX_AGE = /^max-age=(\d{1,10})$/i;

/** RFC 6797 6.1; `preload` is a word of the browsers' common list, which asks for a year and for subdomains. */
export const transportSecurity = headerValue(
  everyItem(
    /;/,
    (directive) => MAX_AGE.test(directive) || /^(?:includeSubDomains|preload)$/i.test(directive),
    (directive) => `${JSON.stringify(directive.toLowerCase())} is no directive of it`,
  )
    .refine((text) => agesOf(text).length === 1, 'it needs exactly one `max-age=SECONDS`')
    .refine(
      (text) => !/preload/i.test(text) || (/includeSubDomains/i.test(text) && (agesOf(text)[0] ?? 0) >= YEAR_S),
      `\`preload\` needs includeSubDomains and a max-age of at least ${YEAR_S}`,
    ),
);

const agesOf = (text: string): number[] =>
  itemsOf(text, /;/).flatMap((directive) => MAX_AGE.exec(directive)?.slice(1).map(Number) ?? []);

/** One of these words, and where violations are reported to. */
const policyWord = (...words: readonly string[]) =>
  headerValue(z.string().regex(new RegExp(`^(?:${words.join('|')})(?:; ?report-to="[\\w-]+")?$`)));

/** The HTML standard, cross-origin opener policies. */
export const openerPolicy = policyWord(
  'unsafe-none',
  'same-origin-allow-popups',
  'same-origin',
  'noopener-allow-popups',
);
/** The HTML standard, cross-origin embedder policies. */
export const embedderPolicy = policyWord('unsafe-none', 'require-corp', 'credentialless');

/** `camera=()`, `camera=(self)`, `camera=*`, `camera=self`, `camera=(self "https://a.example")` (RFC 9651 3.2). */
const PERMITTED = '(?:\\*|self|src|"[^"\\\\]*")';
const PERMISSION = new RegExp(`^[a-z][a-z0-9-]*=(?:\\*|self|\\((?:${PERMITTED}(?: +${PERMITTED})*)?\\))$`);

/** W3C, Permissions Policy. Names are not checked, because browsers add some every year. */
export const permissionsPolicy = headerValue(
  everyItem(
    /,/,
    (permission) => PERMISSION.test(permission),
    (permission) =>
      / '(?:self|none)'|^[a-z-]+ /.test(permission)
        ? `${JSON.stringify(permission)} is no permission: this is how the old Feature-Policy was written`
        : `${JSON.stringify(permission)} is no permission`,
  ),
);

/** CSP Level 3 with the documents that extend it. */
const CSP_DIRECTIVES: ReadonlySet<string> = new Set([
  ...['', 'default-src', 'script-src', 'script-src-elem', 'script-src-attr', 'style-src', 'style-src-elem'],
  ...['style-src-attr', 'img-src', 'font-src', 'connect-src', 'media-src', 'object-src', 'child-src', 'frame-src'],
  ...['worker-src', 'manifest-src', 'prefetch-src', 'base-uri', 'form-action', 'frame-ancestors', 'navigate-to'],
  ...['sandbox', 'report-uri', 'report-to', 'upgrade-insecure-requests', 'block-all-mixed-content'],
  ...['require-trusted-types-for', 'trusted-types', 'fenced-frame-src', 'webrtc'],
]);

const directiveName = (directive: string): string => directive.split(' ')[0] ?? '';

/** Names are checked, values are not: they are a language of their own. */
export const contentSecurityPolicy = headerValue(
  everyItem(
    /[;,]/,
    (directive) => CSP_DIRECTIVES.has(directiveName(directive).toLowerCase()),
    (directive) => `${JSON.stringify(directiveName(directive))} is no directive of it`,
  ).refine((text) => /[^;, ]/.test(text), 'it has no directive'),
);
