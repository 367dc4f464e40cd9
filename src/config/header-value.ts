/**
 * How the value of each security header is spelled. Browsers ignore what they do not know, so that a typing mistake
 * would switch a protection off without a word: names and directives are checked, not only characters.
 */
import type { z } from 'zod';
import { Misspelled, spelled } from './value.ts';

/** nginx answers 502 by default when all of an answer's headers exceed 4 KB (`proxy_buffer_size`). */
const LONGEST_VALUE = 3_000;

/** `off`, `backend`, or a value that `read` accepts; what `read` returns is sent. */
function headerValue(read: (text: string) => string): z.ZodType<string, string> {
  return spelled((text) => {
    if (text === 'off' || text === 'backend') return text;
    if (/[^\x20-\x7e]/.test(text)) {
      throw new Misspelled('it contains a line break, a control character or a character that is not ASCII');
    }
    if (text.length > LONGEST_VALUE) throw new Misspelled(`it is longer than ${LONGEST_VALUE} characters`);
    if (text !== text.trim()) throw new Misspelled('there is a space at one of its ends');
    return read(text);
  });
}

/** One of these words in any letter case. @returns the word as browsers' documents write it */
const anyOf = (...words: readonly string[]): z.ZodType<string, string> =>
  headerValue((text) => {
    const found = words.find((word) => word.toLowerCase() === text.toLowerCase());
    if (found === undefined) throw new Misspelled('');
    return found;
  });

/** RFC 7034; `ALLOW-FROM` is known to no browser of today. */
export const frameOptions = anyOf('SAMEORIGIN', 'DENY');
/** The Fetch standard. */
export const contentTypeOptions = anyOf('nosniff');
/** The Fetch standard. */
export const resourcePolicy = anyOf('same-origin', 'same-site', 'cross-origin');

/** Of no standard: what browsers took until they dropped their filters. */
export const xssProtection = headerValue((text) => {
  if (!/^(?:0|1|1; ?mode=block|1; ?report=\S+)$/.test(text)) throw new Misspelled('');
  return text;
});

const REFERRER_POLICIES: ReadonlySet<string> = new Set([
  ...['no-referrer', 'no-referrer-when-downgrade', 'origin', 'origin-when-cross-origin', 'same-origin'],
  ...['strict-origin', 'strict-origin-when-cross-origin', 'unsafe-url'],
]);

/** Several mean: the last one that a browser knows. */
export const referrerPolicy = headerValue((text) => {
  for (const policy of text.split(',').map((item) => item.trim())) {
    if (!REFERRER_POLICIES.has(policy)) throw new Misspelled(`${JSON.stringify(policy)} is no referrer policy`);
  }
  return text;
});

const YEAR_S = 31_536_000;

/** RFC 6797 6.1; `preload` is a word of the browsers' common list, which asks for a year and for subdomains. */
export const transportSecurity = headerValue((text) => {
  const directives = text.split(';').map((item) => item.trim().toLowerCase());
  const ages = directives.filter((directive) => /^max-age=\d{1,10}$/.test(directive));
  const rest = directives.filter((directive) => !ages.includes(directive));
  const stranger = rest.find((directive) => directive !== 'includesubdomains' && directive !== 'preload');
  if (stranger !== undefined) throw new Misspelled(`${JSON.stringify(stranger)} is no directive of it`);
  if (ages.length !== 1) throw new Misspelled('it needs exactly one `max-age=SECONDS`');
  const isListable = rest.includes('includesubdomains') && Number(ages[0]?.slice('max-age='.length)) >= YEAR_S;
  if (rest.includes('preload') && !isListable) {
    throw new Misspelled(`\`preload\` needs includeSubDomains and a max-age of at least ${YEAR_S}`);
  }
  return text;
});

/** A word, and where violations are reported to. */
const policyWord = (...words: readonly string[]): z.ZodType<string, string> =>
  headerValue((text) => {
    const [, word = ''] = /^([a-z-]+)(?:; ?report-to="[\w-]+")?$/.exec(text) ?? [];
    if (!words.includes(word)) throw new Misspelled('');
    return text;
  });

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
export const permissionsPolicy = headerValue((text) => {
  for (const permission of text.split(',').map((item) => item.trim())) {
    if (PERMISSION.test(permission)) continue;
    const hint = / '(?:self|none)'|^[a-z-]+ /.test(permission)
      ? ': this is how the old Feature-Policy was written'
      : '';
    throw new Misspelled(`${JSON.stringify(permission)} is no permission${hint}`);
  }
  return text;
});

/** CSP Level 3 with the documents that extend it. */
const CSP_DIRECTIVES: ReadonlySet<string> = new Set([
  ...['default-src', 'script-src', 'script-src-elem', 'script-src-attr', 'style-src', 'style-src-elem'],
  ...['style-src-attr', 'img-src', 'font-src', 'connect-src', 'media-src', 'object-src', 'child-src', 'frame-src'],
  ...['worker-src', 'manifest-src', 'prefetch-src', 'base-uri', 'form-action', 'frame-ancestors', 'navigate-to'],
  ...['sandbox', 'report-uri', 'report-to', 'upgrade-insecure-requests', 'block-all-mixed-content'],
  ...['require-trusted-types-for', 'trusted-types', 'fenced-frame-src', 'webrtc'],
]);

/** Names are checked, values are not: they are a language of their own. */
export const contentSecurityPolicy = headerValue((text) => {
  const directives = text.split(/[;,]/).map((item) => item.trim());
  for (const directive of directives) {
    const [name = ''] = directive.split(/ +/);
    if (name !== '' && !CSP_DIRECTIVES.has(name.toLowerCase())) {
      throw new Misspelled(`${JSON.stringify(name)} is no directive of it`);
    }
  }
  if (directives.every((directive) => directive === '')) throw new Misspelled('it has no directive');
  return text;
});
