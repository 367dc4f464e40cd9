/**
 * How the text of each kind of value is read. A schema fails with a reason where the reason helps; where the sentence
 * "expected …" of the setting is enough, it fails with none.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

/** Gives `reason` to texts that match `pattern`; others fail without one. */
const reasonWhere = (pattern: RegExp, reason: string) => ({
  error: ({ input }: { readonly input?: unknown }) =>
    typeof input === 'string' && pattern.test(input) ? reason : undefined,
});

/** Of several alternatives the last is the one that explains what is wrong. */
export const lastReason = {
  error: ({ errors }: { readonly errors: readonly (readonly { readonly message: string }[])[] }) =>
    errors.at(-1)?.[0]?.message,
};

const noUnit = reasonWhere(/^\d+$/, 'it has no unit');

const MS_OF: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
export const DURATION = /^\d{1,9}(?:ms|s|m|h|d)$/;

/** `500ms`, `30s`, `2m`, `1h`, `1d`, between the two bounds. @returns milliseconds */
export const duration = (lowestMs: number, highestMs: number) =>
  z
    .string()
    .regex(DURATION, noUnit)
    .transform(millisecondsOf)
    .pipe(z.number().min(lowestMs, 'it is too short').max(highestMs, 'it is too long'));

/** @param text as `DURATION` has it */
export const millisecondsOf = (text: string): number => quantity(text, MS_OF);

const BYTES_OF: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** `512KB`, `100MB`, with 1 KB = 1024 bytes as nginx counts. @returns bytes */
export const size = (lowestBytes: number, highestBytes: number) =>
  z
    .string()
    .regex(/^\d{1,12}(?:B|KB|MB|GB)$/i, noUnit)
    .transform((text) => quantity(text.toUpperCase(), BYTES_OF))
    .pipe(z.number().min(lowestBytes, 'it is too small').max(highestBytes, 'it is too large'));

/** @param text a whole number and a unit of `unitOf` */
const quantity = (text: string, unitOf: Readonly<Record<string, number>>): number =>
  Number.parseInt(text, 10) * (unitOf[text.replace(/^\d+/, '')] ?? Number.NaN);

/** In any letter case, as the backend writes them. The backend reads anything else as false, which is not copied here. */
export const boolean = z.stringbool({ truthy: ['true'], falsy: ['false'] });

/** Kubernetes writes `MODELGATE_PORT=tcp://10.0.0.1:8080` into every container beside a service named `modelgate`. */
export const SERVICE_LINK =
  'Kubernetes sets this for a service named modelgate: set `enableServiceLinks: false` in the pod';

/** 0 lets the system choose. */
export const port = z
  .string()
  .regex(/^\d{1,5}$/, reasonWhere(/^tcp:\/\//, SERVICE_LINK))
  .transform(Number)
  .pipe(z.number().max(65_535));

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/** An address, IPv6 without brackets, or a name (RFC 1123 section 2.1). */
export const host = z
  .string()
  .refine(
    (text) => isIP(text) !== 0 || HOST_NAME.test(text),
    reasonWhere(/^\[.*\]$/, 'write an IPv6 address without brackets'),
  );

/** Scheme, host and port of the backend: Open WebUI is not served below a path, and a query has no meaning here. */
export const origin = z
  .string()
  .refine((text) => URL.canParse(text), 'it is not a URL')
  .transform((text) => new URL(text))
  .refine(({ protocol }) => protocol === 'http:' || protocol === 'https:', 'its scheme is neither http nor https')
  .refine(({ username, password }) => username === '' && password === '', 'it carries credentials')
  .refine(
    ({ pathname, search, hash }) => pathname === '/' && search === '' && hash === '',
    'it has more than scheme, host and port',
  );

const SQLITE_PREFIX = 'sqlite:///';

/** The backend's `sqlite:///relative` and `sqlite:////absolute`. @returns the path as written, without the query */
export const sqliteUrl = z
  .string()
  .startsWith(SQLITE_PREFIX, { error: ({ input }) => otherDatabase(String(input)) })
  .transform((text) => text.slice(SQLITE_PREFIX.length).split('?')[0] ?? '')
  .refine((path) => path !== '' && path !== ':memory:', 'a database in memory cannot be shared with the backend')
  .refine((path) => !path.startsWith('file:'), 'the `file:` form is not supported')
  .refine((path) => !path.includes('\0'), 'it contains a NUL character');

function otherDatabase(text: string): string | undefined {
  if (/^postgres/i.test(text)) return 'PostgreSQL is not supported yet';
  if (/^sqlite\+sqlcipher:/i.test(text)) return 'an encrypted SQLite file (SQLCipher) is not supported';
  if (/^sqlite:/i.test(text)) return 'three slashes come before a relative path, four before an absolute one';
  return undefined;
}

const listed = z
  .string()
  .transform((text): readonly string[] => text.split(',').map((item) => item.trim()))
  .refine((items) => !items.includes(''), 'there is an empty entry between two commas');

/** @returns the range, or a sentence that says what is wrong */
function parseCidr(text: string) {
  const [address = '', length, ...more] = text.split('/');
  // ipaddr.js also reads `10.8`, `0x0a.0.0.0` and IPv6 zones
  const isAddress = isIP(address) !== 0 && !address.includes('%');
  if (!isAddress || more.length > 0 || !/^\d{1,3}$/.test(length ?? '0')) {
    return `${JSON.stringify(text)} is not an address range`;
  }
  // ipaddr.js reads the deprecated `::10.0.0.1` as `::ffff:10.0.0.1`
  const ip = ipaddr.parse(address.replace(/^::(?=\d+\.)/, '0::'));
  const width = ip.kind() === 'ipv4' ? 32 : 128;
  const prefix = length === undefined ? width : Number(length);
  if (prefix > width) return `the prefix of ${JSON.stringify(text)} is longer than ${width} bits`;
  const cidr = `${shortest(ip)}/${prefix}`;
  const network = (ip instanceof ipaddr.IPv4 ? ipaddr.IPv4 : ipaddr.IPv6).networkAddressFromCIDR(cidr);
  if (shortest(network) !== shortest(ip)) {
    return `${JSON.stringify(text)} has bits set behind its prefix: write ${shortest(network)}/${prefix}`;
  }
  return Object.freeze({ address: shortest(ip), prefix, family: ip.kind() });
}

const shortest = (ip: ipaddr.IPv4 | ipaddr.IPv6): string =>
  ip instanceof ipaddr.IPv6 ? ip.toRFC5952String() : ip.toString();

const cidr = z.string().transform((text, context) => {
  const range = parseCidr(text);
  if (typeof range !== 'string') return range;
  context.addIssue(range);
  return z.NEVER;
});

/** `10.0.0.0/8`, `fd00::/8` or single addresses, separated by commas; spaces around them do not matter. */
export const cidrs = listed.pipe(z.array(cidr));

const modelId = z.string().refine((id) => id !== 'any' && id !== 'none', {
  error: ({ input }) => `\`${String(input)}\` cannot stand beside model ids`,
});

/** `any`, `none`, or model ids separated by commas. */
export const modelList = z.union(
  [
    z.literal('any'),
    z.literal('none').transform((): ReadonlySet<string> => new Set()),
    listed.pipe(z.array(modelId)).transform((ids): ReadonlySet<string> => new Set(ids)),
  ],
  lastReason,
);

const corsOrigin = z
  .string()
  .regex(/^[a-z][a-z\d+.-]*:\/\/[^\s/]/i, { error: ({ input }) => `${JSON.stringify(input)} is no origin` });

/** As the backend reads `CORS_ALLOW_ORIGIN` (0.6.18 and 0.12.4), which compares texts: nothing is put right here. */
export const origins = z.union(
  [
    z.literal('*').transform(() => 'any' as const),
    z
      .string()
      .refine((text) => !text.includes(','), 'semicolons stand between origins, not commas')
      .transform((text) => text.split(';'))
      .pipe(z.array(corsOrigin))
      .transform((list): ReadonlySet<string> => new Set(list)),
  ],
  lastReason,
);

/** Fields with a meaning of their own: a key carried in one of them would be read, or removed, as something else. */
const TAKEN_HEADERS: ReadonlySet<string> = new Set([
  ...['authorization', 'cookie', 'host', 'connection', 'content-length', 'content-type', 'transfer-encoding', 'te'],
  ...['upgrade', 'expect', 'trailer', 'keep-alive', 'proxy-authorization', 'accept', 'accept-encoding', 'user-agent'],
  ...['origin', 'referer', 'x-request-id', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'forwarded'],
]);

/** A field name (RFC 9110 section 5.1). @returns it in lower case */
export const headerName = z
  .string()
  .regex(/^[a-z0-9!#$%&'*+.^`|~-]{1,64}$/i, reasonWhere(/_/, 'names with an underscore are dropped on the way'))
  .toLowerCase()
  .refine((name) => !TAKEN_HEADERS.has(name), 'this field has another meaning');

/** Both the backend's words (Python's `logging`, loguru) and pino's. */
const LOG_LEVELS = new Map(
  Object.entries({
    ...({ NOTSET: 'trace', TRACE: 'trace', DEBUG: 'debug', INFO: 'info', SUCCESS: 'info' } as const),
    ...({
      WARNING: 'warn',
      WARN: 'warn',
      ERROR: 'error',
      CRITICAL: 'fatal',
      FATAL: 'fatal',
      SILENT: 'silent',
    } as const),
  }),
);

/** In any letter case. @returns pino's word */
export const logLevel = z
  .string()
  .transform((text) => LOG_LEVELS.get(text.toUpperCase()))
  .pipe(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']));

/** In any letter case, as the backend reads it. */
export const logFormat = z
  .string()
  .toLowerCase()
  .pipe(z.enum(['json', 'text']));

/** One line of text without control characters or spaces at its ends. */
export const text = (longest: number) =>
  z
    .string()
    .max(longest, `it is longer than ${longest} characters`)
    .refine((value) => !/[\u0000-\u001f\u007f]/.test(value) && value.isWellFormed(), 'it contains control characters')
    .refine((value) => value === value.trim(), 'there is a space at one of its ends');

/** A secret is taken as it is: every byte of it is part of the key. */
export const secret = z.string().min(1);
