/** Kinds of settings. A schema fails with a reason where "expected …" is not enough. */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

interface SettingFacts {
  /** Ends the sentence "expected …". */
  readonly expected: string;
  readonly example: string;
  /** One line for `config/README.md`. */
  readonly meaning: string;
  readonly fallback?: string;
  /** Never shown, never taken from the YAML file. */
  readonly secret?: true;
}

export const string = z.string();

const FACTS = z.registry<SettingFacts>();
export function factsOf(schema: z.ZodType): SettingFacts {
  const facts = FACTS.get(schema);
  if (facts === undefined) throw new TypeError('this schema is no setting');
  return facts;
}

export const setting = <T>(schema: z.ZodType<T, string>, facts: SettingFacts) =>
  schema.optional().register(FACTS, facts);

/** A setting that always has a value; its default is its example too, unless another is given. */
export const settingWithDefault = <T>(
  schema: z.ZodType<T, string>,
  fallback: string,
  facts: Omit<SettingFacts, 'fallback' | 'example'> & { readonly example?: string },
) => schema.prefault(fallback).register(FACTS, { example: fallback, ...facts, fallback });

/** Gives the reason of the first pattern that a text matches; others fail without one. */
export const reasonWhere = (...reasons: readonly (readonly [pattern: RegExp, reason: string])[]) => ({
  error: ({ input }: { readonly input?: unknown }) => reasons.find(([pattern]) => pattern.test(String(input)))?.[1],
});

/** Of several alternatives the last is the one that explains what is wrong. */
export const lastReason = {
  error: ({ errors }: { readonly errors: readonly (readonly { readonly message: string }[])[] }) =>
    errors.at(-1)?.[0]?.message,
};

export const oneOf = (words: readonly string[]): string =>
  new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(words.map((word) => `\`${word}\``));

const MS_OF = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const BYTES_OF = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
export const DURATION = /^\d{1,9}(?:ms|s|m|h|d)$/;

export const millisecondsOf = (text: string): number => quantity(text, MS_OF);

const quantity = (text: string, unitOf: Readonly<Record<string, number>>): number =>
  Number.parseInt(text, 10) * (unitOf[text.replace(/^\d+/, '')] ?? Number.NaN);

const noUnit = reasonWhere([/^\d+$/, 'it has no unit']);

/** `500ms`, `30s`, `2m`, `1h`, `1d`. @returns milliseconds */
export const duration = (lowestMs: number, highestMs: number) =>
  string
    .regex(DURATION, noUnit)
    .transform(millisecondsOf)
    .pipe(z.number().min(lowestMs, 'it is too short').max(highestMs, 'it is too long'));

export const time = ([fallback, lowest, highest]: readonly [string, string, string], meaning: string) =>
  settingWithDefault(duration(millisecondsOf(lowest), millisecondsOf(highest)), fallback, {
    expected: `a duration from ${lowest} to ${highest}: a whole number with ms, s, m, h or d`,
    meaning,
  });

/** `512KB`, `100MB`, with 1 KB = 1024 bytes as nginx counts. @returns bytes */
export const size = (lowestBytes: number, highestBytes: number) =>
  string
    .regex(/^\d{1,12}(?:B|KB|MB|GB)$/i, noUnit)
    .transform((text) => quantity(text.toUpperCase(), BYTES_OF))
    .pipe(z.number().min(lowestBytes, 'it is too small').max(highestBytes, 'it is too large'));

/** In any letter case, as the backend writes them. The backend reads anything else as false, which is not copied here. */
export const boolean = z.stringbool({ truthy: ['true'], falsy: ['false'] });

export const flag = (fallback: 'true' | 'false', meaning: string) =>
  settingWithDefault(boolean, fallback, { expected: '`true` or `false`', meaning });

/** One of two words, of which the first is the default. */
export const choice = <const W extends string>(words: readonly [W, W], meaning: string) =>
  settingWithDefault(z.enum(words), words[0], { expected: oneOf(words), meaning });

/** In any letter case, as the backend takes it; may stay unset. */
export const backendWord = <const W extends string>(words: readonly [W, ...W[]], meaning: string) =>
  setting(string.toLowerCase().pipe(z.enum(words)), { expected: oneOf(words), example: words[0], meaning });

/** Kubernetes writes `MODELGATE_PORT=tcp://10.0.0.1:8080` into every container beside a service named `modelgate`. */
export const SERVICE_LINK =
  'Kubernetes sets this for a service named modelgate: set `enableServiceLinks: false` in the pod';

const portNumber = string
  .regex(/^\d{1,5}$/, reasonWhere([/^tcp:\/\//, SERVICE_LINK]))
  .transform(Number)
  .pipe(z.number().max(65_535));

export const port = (fallback: string, meaning: string) =>
  settingWithDefault(portNumber, fallback, {
    expected: 'a port number from 0 to 65535, where 0 lets the system choose',
    meaning,
  });

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

const hostName = string.refine(
  (text) => isIP(text) !== 0 || HOST_NAME.test(text),
  reasonWhere([/^\[.*\]$/, 'write an IPv6 address without brackets']),
);

/** Where a listener binds: an address, or a name (RFC 1123 section 2.1). */
export const host = (fallback: string, meaning: string) =>
  settingWithDefault(hostName, fallback, { expected: 'an IP address or a host name', meaning });

/** Open WebUI is not served below a path, and a query has no meaning here. */
export const origin = string
  .refine((text) => URL.canParse(text), 'it is not a URL')
  .transform((text) => new URL(text))
  .refine(({ protocol }) => /^https?:$/.test(protocol), 'its scheme is neither http nor https')
  .refine(({ username, password }) => username === '' && password === '', 'it carries credentials')
  .refine(
    ({ pathname, search, hash }) => pathname === '/' && search === '' && hash === '',
    'it has more than scheme, host and port',
  );

const SQLITE_PREFIX = 'sqlite:///';

/** The backend's `sqlite:///relative` and `sqlite:////absolute`. @returns the path as written, without the query */
export const sqliteUrl = string
  .startsWith(
    SQLITE_PREFIX,
    reasonWhere(
      [/^postgres/i, 'PostgreSQL is not supported yet'],
      [/^sqlite\+sqlcipher:/i, 'an encrypted SQLite file (SQLCipher) is not supported'],
      [/^sqlite:/i, 'three slashes come before a relative path, four before an absolute one'],
    ),
  )
  .transform((text) => text.slice(SQLITE_PREFIX.length).split('?')[0] ?? '')
  .refine((path) => path !== '' && path !== ':memory:', 'a database in memory cannot be shared with the backend')
  .refine((path) => !path.startsWith('file:'), 'the `file:` form is not supported')
  .refine((path) => !path.includes('\0'), 'it contains a NUL character');

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

export const cidrs = listed.pipe(z.array(cidr));

const modelId = string.refine((id) => id !== 'any' && id !== 'none', {
  error: ({ input }) => `\`${String(input)}\` cannot stand beside model ids`,
});

const noModels: ReadonlySet<string> = new Set();

export const modelList = z.union(
  [
    z.literal('any'),
    z.literal('none').transform(() => noModels),
    listed.pipe(z.array(modelId)).transform((ids): ReadonlySet<string> => new Set(ids)),
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
export const headerName = string
  .regex(/^[a-z0-9!#$%&'*+.^`|~-]{1,64}$/i, reasonWhere([/_/, 'names with an underscore are dropped on the way']))
  .toLowerCase()
  .refine((name) => !TAKEN_HEADERS.has(name), 'this field has another meaning');
