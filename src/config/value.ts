/**
 * How one value is spelled: text in, a value that needs no second check out. Each schema fails with a sentence that
 * says what is wrong with this text; what would be right stands with the setting.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { parseCidr } from './cidr.ts';
import type { Cidr, LogLevel } from './schema.ts';

/** The message where what is expected says enough: zod would put a text of its own in place of an empty one. */
export const UNEXPLAINED = 'unexplained';

/** Makes a schema of a function that returns the value or throws `Misspelled` with the reason. */
export function spelled<T>(read: (text: string) => T): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    try {
      return read(text);
    } catch (error) {
      if (!(error instanceof Misspelled)) throw error;
      context.addIssue({ code: 'custom', message: error.message === '' ? UNEXPLAINED : error.message });
      return z.NEVER;
    }
  });
}

/** @param reason a clause for the operator, or empty where the expectation alone says enough */
export class Misspelled extends Error {}

const MS_OF = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `500ms`, `30s`, `2m`, `1h`, `1d`, between the two bounds. @returns milliseconds */
export function duration(lowestMs: number, highestMs: number): z.ZodType<number, string> {
  return spelled((text) => {
    const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
    if (match === null) throw new Misspelled(/^\d+$/.test(text) ? 'it has no unit' : '');
    // the cast: the expression above lets no other unit through
    const ms = Number(match[1]) * MS_OF[match[2] as keyof typeof MS_OF];
    if (ms < lowestMs) throw new Misspelled('it is too short');
    if (ms > highestMs) throw new Misspelled('it is too long');
    return ms;
  });
}

const BYTES_OF = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 } as const;

/** `512KB`, `100MB`, with 1 KB = 1024 bytes as nginx counts. @returns bytes */
export function size(lowestBytes: number, highestBytes: number): z.ZodType<number, string> {
  return spelled((text) => {
    const match = /^(\d{1,12})(B|KB|MB|GB)$/i.exec(text);
    if (match === null) throw new Misspelled(/^\d+$/.test(text) ? 'it has no unit' : '');
    // the cast: as for durations
    const bytes = Number(match[1]) * BYTES_OF[(match[2] ?? '').toUpperCase() as keyof typeof BYTES_OF];
    if (bytes < lowestBytes) throw new Misspelled('it is too small');
    if (bytes > highestBytes) throw new Misspelled('it is too large');
    return bytes;
  });
}

/** `true` or `false` in any case, as the backend writes them. Its "anything else is false" is not taken over. */
export const boolean = spelled((text) => {
  const word = text.toLowerCase();
  if (word !== 'true' && word !== 'false') throw new Misspelled('');
  return word === 'true';
});

/** One of a few words, exactly. */
export function word<const W extends string>(...words: readonly W[]): z.ZodType<W, string> {
  return spelled((text) => {
    const found = words.find((candidate) => candidate === text);
    if (found === undefined) throw new Misspelled('');
    return found;
  });
}

/** 0 lets the system choose. */
export const port = spelled((text) => {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new Misspelled(/^tcp:\/\//.test(text) ? SERVICE_LINK : '');
  }
  return Number(text);
});

/** Kubernetes writes `MODELGATE_PORT=tcp://10.0.0.1:8080` into every container beside a service named `modelgate`. */
export const SERVICE_LINK =
  'Kubernetes sets this for a service named modelgate: set `enableServiceLinks: false` in the pod';

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/** An address, IPv6 without brackets, or a name (RFC 1123 section 2.1). @returns it as it was typed */
export const host = spelled((text) => {
  if (isIP(text) === 0 && !HOST_NAME.test(text)) {
    throw new Misspelled(/^\[.*\]$/.test(text) ? 'write an IPv6 address without brackets' : '');
  }
  return text;
});

/** Scheme, host and port of the backend: Open WebUI is not served below a path, and a query has no meaning here. */
export const origin = spelled((text) => {
  if (!URL.canParse(text)) throw new Misspelled('it is not a URL');
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Misspelled('its scheme is neither http nor https');
  if (url.username !== '' || url.password !== '') throw new Misspelled('it carries credentials');
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    throw new Misspelled('it has more than scheme, host and port');
  return url;
});

const SQLITE_PREFIX = 'sqlite:///';

/** The backend's `sqlite:///relative` and `sqlite:////absolute`. @returns the path as written, without the query */
export const sqliteUrl = spelled((text) => {
  if (!text.startsWith(SQLITE_PREFIX)) throw new Misspelled(otherDatabase(text));
  const [path = ''] = text.slice(SQLITE_PREFIX.length).split('?');
  if (path === '' || path === ':memory:')
    throw new Misspelled('a database in memory cannot be shared with the backend');
  if (path.startsWith('file:')) throw new Misspelled('the `file:` form is not supported');
  if (path.includes('\0')) throw new Misspelled('it contains a NUL character');
  return path;
});

function otherDatabase(text: string): string {
  if (/^postgres/i.test(text)) return 'PostgreSQL is not supported yet';
  if (/^sqlite\+sqlcipher:/i.test(text)) return 'an encrypted SQLite file (SQLCipher) is not supported';
  if (/^sqlite:/i.test(text)) return 'three slashes come before a relative path, four before an absolute one';
  return '';
}

/** Ranges separated by commas; spaces around them do not matter. */
export const cidrs = spelled((text): readonly Cidr[] =>
  Object.freeze(
    listed(text).map((item) => {
      const cidr = parseCidr(item);
      if (typeof cidr === 'string') throw new Misspelled(cidr);
      return cidr;
    }),
  ),
);

/** `any`, `none`, or model ids separated by commas. */
export const modelList = spelled((text): 'any' | ReadonlySet<string> => {
  if (text === 'any') return 'any';
  if (text === 'none') return new Set();
  const ids = listed(text);
  const reserved = ids.find((id) => id === 'any' || id === 'none');
  if (reserved !== undefined) throw new Misspelled(`\`${reserved}\` cannot stand beside model ids`);
  return new Set(ids);
});

function listed(text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.includes('')) throw new Misspelled('there is an empty entry between two commas');
  return items;
}

/** As the backend reads `CORS_ALLOW_ORIGIN` (0.6.18 and 0.12.4), which compares texts: nothing is put right here. */
export const origins = spelled((text): 'any' | ReadonlySet<string> => {
  if (text === '*') return 'any';
  if (text.includes(',')) throw new Misspelled('semicolons stand between origins, not commas');
  const listed = text.split(';');
  for (const origin of listed) {
    if (!/^[a-z][a-z\d+.-]*:\/\/[^\s/]/i.test(origin)) throw new Misspelled(`${JSON.stringify(origin)} is no origin`);
  }
  return new Set(listed);
});

/** Fields with a meaning of their own: a key carried in one of them would be read, or removed, as something else. */
const TAKEN_HEADERS: ReadonlySet<string> = new Set([
  ...['authorization', 'cookie', 'host', 'connection', 'content-length', 'content-type', 'transfer-encoding', 'te'],
  ...['upgrade', 'expect', 'trailer', 'keep-alive', 'proxy-authorization', 'accept', 'accept-encoding', 'user-agent'],
  ...['origin', 'referer', 'x-request-id', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'forwarded'],
]);

/** A field name (RFC 9110 section 5.1). @returns it in lower case */
export const headerName = spelled((text) => {
  if (!/^[a-z0-9!#$%&'*+.^`|~-]{1,64}$/i.test(text)) {
    throw new Misspelled(text.includes('_') ? 'names with an underscore are dropped on the way' : '');
  }
  const name = text.toLowerCase();
  if (TAKEN_HEADERS.has(name)) throw new Misspelled('this field has another meaning');
  return name;
});

/** Both the backend's words (Python's `logging`, loguru) and pino's. */
const LOG_LEVELS: Readonly<Record<string, LogLevel>> = {
  ...{ NOTSET: 'trace', TRACE: 'trace', DEBUG: 'debug', INFO: 'info', SUCCESS: 'info', WARNING: 'warn', WARN: 'warn' },
  ...{ ERROR: 'error', CRITICAL: 'fatal', FATAL: 'fatal', SILENT: 'silent' },
};

/** In any letter case. @returns pino's word */
export const logLevel = spelled((text) => {
  const name = text.toUpperCase();
  const level = Object.hasOwn(LOG_LEVELS, name) ? LOG_LEVELS[name] : undefined;
  if (level === undefined) throw new Misspelled('');
  return level;
});

/** In any case, as the backend reads it. */
export const logFormat = z.string().toLowerCase().pipe(word('json', 'text'));

/** One line of text without control characters or spaces at its ends. */
export function text(longest: number): z.ZodType<string, string> {
  return spelled((value) => {
    if (value.length > longest) throw new Misspelled(`it is longer than ${longest} characters`);
    if (/[\u0000-\u001f\u007f]/.test(value) || !value.isWellFormed())
      throw new Misspelled('it contains control characters');
    if (value !== value.trim()) throw new Misspelled('there is a space at one of its ends');
    return value;
  });
}

/** A secret is taken as it is: every byte of it counts. */
export const secret = z.string().min(1);
