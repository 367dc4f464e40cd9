/** Kinds of values. Each is described by what ends the sentence "expected …", and fails with a reason where that is not enough. */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

export const string = z.string();

/** Gives the reason of the first pattern that a text matches; others fail without one. */
export const reasonWhere = (...reasons: readonly (readonly [pattern: RegExp, reason: string])[]) => ({
  error: ({ input }: { readonly input?: unknown }) => reasons.find(([pattern]) => pattern.test(String(input)))?.[1],
});

/** Of several alternatives the last is the one that explains what is wrong. */
export const lastReason = {
  error: ({ errors }: { readonly errors: readonly (readonly { readonly message: string }[])[] }) =>
    errors.at(-1)?.[0]?.message,
};

/** Of one line. */
export const text = (longest: number) =>
  string
    .max(longest, `it is longer than ${longest} characters`)
    .refine((typed) => !/[\u0000-\u001f\u007f]/.test(typed) && typed.isWellFormed(), 'it contains control characters')
    .refine((typed) => typed === typed.trim(), 'there is a space at one of its ends');

export const oneOf = (words: readonly string[]): string =>
  new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(words.map((word) => `\`${word}\``));

const UNITS: Readonly<Record<string, number>> = {
  ...{ ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 },
  ...{ B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 },
};
export const DURATION = /^\d{1,9}(?:ms|s|m|h|d)$/;
const SIZE = /^\d{1,12}(?:B|KB|MB|GB)$/i;

/** @returns milliseconds or bytes */
export function amountOf(text: string): number {
  const unit = text.replace(/^\d+/, '');
  return Number.parseInt(text, 10) * (UNITS[unit] ?? UNITS[unit.toUpperCase()] ?? Number.NaN);
}

const amount = (form: RegExp, bounds: readonly [lowest: string, highest: string], words: readonly [string, string]) =>
  string
    .regex(form, reasonWhere([/^\d+$/, 'it has no unit']))
    .transform(amountOf)
    .pipe(
      z.number().min(amountOf(bounds[0]), `it is too ${words[0]}`).max(amountOf(bounds[1]), `it is too ${words[1]}`),
    );

/** `500ms`, `30s`, `2m`, `1h`, `1d`. @returns milliseconds */
export const duration = (...bounds: readonly [lowest: string, highest: string]) =>
  amount(DURATION, bounds, ['short', 'long']).describe(
    `a duration from ${bounds.join(' to ')}: a whole number with ms, s, m, h or d`,
  );

/** `512KB`, `100MB`, with 1 KB = 1024 bytes as nginx counts. @returns bytes */
export const size = (...bounds: readonly [lowest: string, highest: string]) =>
  amount(SIZE, bounds, ['small', 'large']).describe(
    `a size from ${bounds.join(' to ')}: a whole number with B, KB, MB or GB`,
  );

/** In any letter case, as the backend writes them. The backend reads anything else as false, which is not copied here. */
export const boolean = z.stringbool({ truthy: ['true'], falsy: ['false'] }).describe('`true` or `false`');

/** One of some words. */
export const word = <const W extends string>(...words: readonly [W, ...W[]]) => z.enum(words).describe(oneOf(words));

/** In any letter case, as the backend takes it. */
export const backendWord = <const W extends string>(...words: readonly [W, ...W[]]) =>
  string.toLowerCase().pipe(z.enum(words)).describe(oneOf(words));

/** Kubernetes writes `MODELGATE_PORT=tcp://10.0.0.1:8080` into every container beside a service named `modelgate`. */
export const SERVICE_LINK =
  'Kubernetes sets this for a service named modelgate: set `enableServiceLinks: false` in the pod';

export const port = string
  .regex(/^\d{1,5}$/, reasonWhere([/^tcp:\/\//, SERVICE_LINK]))
  .transform(Number)
  .pipe(z.number().max(65_535))
  .describe('a port number from 0 to 65535, where 0 lets the system choose');

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/** Where a listener binds: an address, or a name (RFC 1123 section 2.1). */
export const host = string
  .refine(
    (typed) => isIP(typed) !== 0 || HOST_NAME.test(typed),
    reasonWhere([/^\[.*\]$/, 'write an IPv6 address without brackets']),
  )
  .describe('an IP address or a host name');

/** Open WebUI is not served below a path, and a query has no meaning here. */
export const origin = string
  .refine((text) => URL.canParse(text), 'it is not a URL')
  .transform((text) => new URL(text))
  .refine(({ protocol }) => /^https?:$/.test(protocol), 'its scheme is neither http nor https')
  .refine(({ username, password }) => username === '' && password === '', 'it carries credentials')
  .refine(
    ({ pathname, search, hash }) => pathname === '/' && search === '' && hash === '',
    'it has more than scheme, host and port',
  )
  .describe('the address of Open WebUI: http or https, host and port, nothing behind it');

const listed = string
  .transform((text): readonly string[] => text.split(',').map((item) => item.trim()))
  .refine((items) => !items.includes(''), 'there is an empty entry between two commas');

const cidr = string.transform((text, context) => {
  const refuse = (reason: string) => (context.addIssue(reason), z.NEVER);
  const [address = '', length, ...more] = text.split('/');
  // ipaddr.js also reads `10.8`, `0x0a.0.0.0` and IPv6 zones
  const isAddress = isIP(address) !== 0 && !address.includes('%');
  if (!isAddress || more.length > 0 || !/^\d{1,3}$/.test(length ?? '0'))
    return refuse(`${JSON.stringify(text)} is not an address range`);
  // ipaddr.js reads the deprecated `::10.0.0.1` as `::ffff:10.0.0.1`
  const ip = ipaddr.parse(address.replace(/^::(?=\d+\.)/, '0::'));
  const width = ip.kind() === 'ipv4' ? 32 : 128;
  const prefix = length === undefined ? width : Number(length);
  if (prefix > width) return refuse(`the prefix of ${JSON.stringify(text)} is longer than ${width} bits`);
  const spelled = shortest(ip);
  const { IPv4, IPv6 } = ipaddr;
  const network = shortest((ip instanceof IPv4 ? IPv4 : IPv6).networkAddressFromCIDR(`${spelled}/${prefix}`));
  return network === spelled
    ? Object.freeze({ address: spelled, prefix, family: ip.kind() })
    : refuse(`${JSON.stringify(text)} has bits set behind its prefix: write ${network}/${prefix}`);
});

const shortest = (ip: ipaddr.IPv4 | ipaddr.IPv6): string =>
  ip instanceof ipaddr.IPv6 ? ip.toRFC5952String() : ip.toString();

export const cidrs = listed.pipe(z.array(cidr)).describe('address ranges separated by commas');

const modelId = string.refine((id) => id !== 'any' && id !== 'none', {
  error: ({ input }) => `\`${String(input)}\` cannot stand beside model ids`,
});

const noModels: ReadonlySet<string> = new Set();

export const modelList = z
  .union(
    [
      z.literal('any'),
      z.literal('none').transform(() => noModels),
      listed.pipe(z.array(modelId)).transform((ids): ReadonlySet<string> => new Set(ids)),
    ],
    lastReason,
  )
  .describe('`any`, `none`, or model ids separated by commas');

/** Fields with a meaning of their own: a key carried in one of them would be read, or removed, as something else. */
const TAKEN_HEADERS: ReadonlySet<string> = new Set([
  ...['authorization', 'cookie', 'host', 'connection', 'content-length', 'content-type', 'transfer-encoding', 'te'],
  ...['upgrade', 'expect', 'trailer', 'keep-alive', 'proxy-authorization', 'accept', 'accept-encoding', 'user-agent'],
  ...['origin', 'referer', 'x-request-id', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'forwarded'],
]);

/** A field name (RFC 9110 section 5.1). @returns it in lower case */
export const headerName = string
  .regex(/^[a-z0-9!#$%&'*+.^`|~-]{1,64}$/i, reasonWhere([/_/, 'names with an underscore are dropped on the way']))
  .toLowerCase()
  .refine((name) => !TAKEN_HEADERS.has(name), 'this field has another meaning')
  .describe('the name of a header field that has no other meaning');

/** The backend's words (Python's `logging`, loguru) that are not pino's too. */
const BACKEND_LEVELS = new Map(
  Object.entries({ notset: 'trace', success: 'info', warning: 'warn', critical: 'fatal' }),
);

export const logLevel = string
  .toLowerCase()
  .transform((word) => BACKEND_LEVELS.get(word) ?? word)
  .pipe(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']))
  .describe('DEBUG, INFO, WARNING, ERROR or CRITICAL (or trace, debug, info, warn, error, fatal, silent)');

/** The arithmetic is exact below it. */
const LARGEST = 1_000_000;
const UP_TO = `up to ${LARGEST}`;

const offOr = <T>(schema: z.ZodType<T, string>) => z.union([z.literal('off'), schema], lastReason);

/** @returns what is wrong; undefined where it is a whole number */
function faultOfWhole(what: string, typed: string, lowest: number): string | undefined {
  if (typed === '') return `${what} is missing`;
  if (!/^\d{1,9}$/.test(typed)) return `${what} is not a whole number`;
  if (Number(typed) > LARGEST) return `${what} is larger than ${LARGEST}`;
  return Number(typed) < lowest ? 'it would refuse everything; `off` switches a limit off' : undefined;
}

/** Whole seconds, as the header fields that announce a limit need them. */
function faultOfWindow(typed: string): string | undefined {
  if (/^\d+$/.test(typed)) return 'its window has no unit, as in `1m`';
  if (/^[smhd]$/.test(typed)) return 'its window has no number, as in `1m`';
  if (!DURATION.test(typed)) return 'its window is no duration, as in `1m`';
  if (typed.endsWith('ms')) return 'its window is not in whole seconds';
  if (amountOf(typed) < 1_000) return 'its window is too short';
  return amountOf(typed) > 86_400_000 ? 'its window is too long' : undefined;
}

/** `120/1m:40`: 120 a minute in the long run, and 40 more than are due at once; without a burst the whole count. */
const rateValue = string.transform((typed, context) => {
  const refuse = (reason: string) => (context.addIssue(reason), z.NEVER);
  const [isRate, count = '', window, burst] = /^([^/:]*)(?:\/([^/:]*))?(?::([^/:]*))?$/.exec(typed) ?? [];
  if (isRate === undefined) return refuse('there is too much in it');
  if (window === undefined) return refuse('it has no window, which comes after a slash: `120/1m`');
  const ofBurst = burst === undefined ? undefined : faultOfWhole('the burst after the colon', burst, 0);
  const fault = faultOfWhole('the count before the slash', count, 1) ?? ofBurst ?? faultOfWindow(window);
  if (fault !== undefined) return refuse(fault);
  return { count: Number(count), windowSeconds: amountOf(window) / 1_000, burst: Number(burst ?? Number(count) - 1) };
});

export const rate = offOr(rateValue).describe(
  `\`COUNT/WINDOW\` or \`COUNT/WINDOW:BURST\` with whole numbers ${UP_TO} and a window from 1s to 1d, or \`off\``,
);

const count = string.transform((typed, context) => {
  const fault = faultOfWhole('it', typed, 1);
  return fault === undefined ? Number(typed) : (context.addIssue(fault), z.NEVER);
});

export const concurrency = offOr(count).describe(`a whole number ${UP_TO}, or \`off\``);
