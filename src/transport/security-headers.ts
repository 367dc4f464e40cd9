/** What an answer tells a browser: security headers, attributes of cookies, and which pages may read it. */
import type { IncomingMessage } from 'node:http';
import type { Config, CookieRules, SecurityHeader } from '../config/schema.ts';
import type { AnswerEdit } from './exchange.ts';
import { indexOfField } from './headers.ts';

/** `list`: several lines mean one line with commas (RFC 9110 5.3). `single`: browsers take the first, or none. */
const SECURITY_FIELDS = {
  'x-frame-options': 'single',
  'x-content-type-options': 'single',
  'x-xss-protection': 'single',
  'referrer-policy': 'list',
  'strict-transport-security': 'single',
  'permissions-policy': 'list',
  'cross-origin-resource-policy': 'single',
  'cross-origin-opener-policy': 'single',
  'cross-origin-embedder-policy': 'single',
  'content-security-policy': 'list',
  'content-security-policy-report-only': 'list',
} as const satisfies Record<SecurityHeader, 'single' | 'list'>;

const TELLTALES =
  'server via x-powered-by x-process-time x-runtime x-generator x-aspnet-version x-aspnetmvc-version'.split(' ');

interface SecureAnswerOptions {
  /** A value, `off` (in no answer) or `backend` (the backend's own). */
  readonly fields: Config['answers']['headers'];
  readonly backendFields: Config['answers']['backendHeaders'];
  /** Lower-case names of the fields that the gate writes itself: the backend's lines of them go. */
  readonly stated: Iterable<string>;
  /** Undefined: the lines of this cookie stay as they are. */
  readonly cookieRules: (name: string) => CookieRules | undefined;
}

interface Row {
  readonly name: SecurityHeader;
  readonly value: string | undefined;
  readonly keepsBackend: boolean;
}

type Kind = Row | 'cookie' | 'taken';

/** @returns the edit for every answer; a 101 gets no fields, there being nothing to show */
export function secureAnswer({ fields, backendFields, stated, cookieRules }: SecureAnswerOptions): AnswerEdit {
  const rows = (Object.keys(SECURITY_FIELDS) as SecurityHeader[]).map((name): Row => {
    const text = fields[name];
    const value = text === 'off' || text === 'backend' ? undefined : text;
    return { name, value, keepsBackend: text === 'backend' || (value !== undefined && backendFields === 'wins') };
  });
  const kinds = new Map<string, Kind>([...TELLTALES, ...stated].map((name) => [name, 'taken']));
  kinds.set('set-cookie', 'cookie');
  for (const row of rows) kinds.set(row.name, row);
  const added = rows.flatMap(({ name, value }) => (value === undefined ? [] : [name, value]));

  return function secure(lines, status) {
    const own = takeOut(lines, kinds, cookieRules);
    if (own === undefined) {
      if (status !== 101) lines.push(...added);
      return;
    }
    for (const row of rows) {
      const value = survivor(row, own.get(row) ?? []);
      if (value !== undefined && (status !== 101 || own.has(row))) lines.push(row.name, value);
    }
  };
}

/** Closes the gaps in place. @returns the values of security fields that stood there */
function takeOut(
  lines: string[],
  kinds: ReadonlyMap<string, Kind>,
  cookieRules: SecureAnswerOptions['cookieRules'],
): Map<Row, string[]> | undefined {
  let own: Map<Row, string[]> | undefined;
  let kept = 0;
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const name = lines[index] ?? '';
    let value = lines[index + 1] ?? '';
    const kind = kinds.get(name);
    if (kind === 'cookie') {
      const rules = cookieRules(cookieName(value));
      if (rules !== undefined) value = enforceCookie(value, rules);
    } else if (kind !== undefined) {
      if (kind === 'taken') continue;
      own ??= new Map();
      const values = own.get(kind);
      if (values === undefined) own.set(kind, [value]);
      else values.push(value);
      continue;
    }
    lines[kept] = name;
    lines[kept + 1] = value;
    kept += 2;
  }
  lines.length = kept;
  return own;
}

/** Empty values are none; so are two different ones where only one can hold. */
function survivor({ name, value, keepsBackend }: Row, sent: readonly string[]): string | undefined {
  if (!keepsBackend) return value;
  const spoken = sent.filter((text) => text.trim() !== '');
  const [first] = spoken;
  if (first === undefined) return value;
  if (SECURITY_FIELDS[name] === 'list') return new Set(spoken).size === 1 ? first : spoken.join(', ');
  const isUnanimous = spoken.every((text) => text.trim().toLowerCase() === first.trim().toLowerCase());
  return isUnanimous ? first : (value ?? first);
}

// `Set-Cookie` as browsers read it (RFC 6265bis 5.7): split at every semicolon whatever quotes say.

/** Browsers ignore an attribute with a longer value (RFC 6265bis 5.7). */
const LONGEST_ATTRIBUTE_VALUE = 1024;

function cookieName(line: string): string {
  const [pair = ''] = line.split(';', 1);
  const equals = pair.indexOf('=');
  return equals === -1 ? '' : trimBlanks(pair.slice(0, equals));
}

function enforceCookie(line: string, { secure, sameSite }: CookieRules): string {
  const [pair = '', ...attributes] = line.split(';');
  const kept = [pair];
  let isSecure = false;
  let hasSameSite = false;
  for (const attribute of attributes) {
    const [name, value] = attributePair(attribute);
    isSecure ||= name === 'secure' && value.length <= LONGEST_ATTRIBUTE_VALUE;
    if (name !== 'samesite' || sameSite === undefined) kept.push(attribute);
    else if (!hasSameSite) {
      hasSameSite = true;
      kept.push(value.toLowerCase() === sameSite ? attribute : ` SameSite=${sameSite}`);
    }
  }
  const added: string[] = [];
  if (sameSite !== undefined && !hasSameSite) added.push(` SameSite=${sameSite}`);
  if (secure && !isSecure) added.push(' Secure');
  // A semicolon at the end is no attribute: the next one goes there
  if (added.length > 0 && kept.length > 1 && trimBlanks(kept.at(-1) ?? '') === '') kept.pop();
  return [...kept, ...added].join(';');
}

function attributePair(attribute: string): [name: string, value: string] {
  const [name = '', ...value] = attribute.split('=');
  return [trimBlanks(name).toLowerCase(), trimBlanks(value.join('='))];
}

const isBlank = (text: string, at: number): boolean => text.charCodeAt(at) === 0x20 || text.charCodeAt(at) === 0x09;

/** Spaces and tabs only: `trim` would take a no-break space for one, and read a name that no browser reads. */
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text, start)) start += 1;
  while (end > start && isBlank(text, end - 1)) end -= 1;
  return text.slice(start, end);
}

// The Fetch standard's CORS protocol; preflights are answered by the upstream alone.

type Asking = Pick<IncomingMessage, 'headers' | 'method'>;
const ALLOWED = 'access-control-allow-origin';
const EXPOSED = 'access-control-expose-headers';
const NONE: readonly AnswerEdit[] = [];

/** @param exposed lower-case names of the fields of ours that a page may read */
export function createCrossOrigin(origins: Config['answers']['origins'], exposed: readonly string[]) {
  const names = exposed.join(', ');
  const expose: AnswerEdit = (lines) => {
    if (indexOfField(lines, ALLOWED) === -1) return;
    const at = indexOfField(lines, EXPOSED);
    if (at === -1) lines.push(EXPOSED, names);
    else lines[at] = `${lines[at]}, ${names}`;
  };
  const exposing: readonly AnswerEdit[] = [expose];
  return {
    /** As Starlette with credentials: the origin itself, never `*`, but where no request says it. */
    allow(lines: string[], incoming: Asking | undefined): void {
      if (incoming === undefined) {
        if (origins === 'any') lines.push(ALLOWED, '*', EXPOSED, names);
        return;
      }
      const { origin } = incoming.headers;
      if (origin === undefined) return;
      lines.push('vary', 'origin');
      if (origins === 'any' || origins.has(origin)) {
        lines.push(ALLOWED, origin, 'access-control-allow-credentials', 'true');
      }
    },
    edits: ({ headers, method }: Asking) => (headers.origin === undefined || method === 'OPTIONS' ? NONE : exposing),
  };
}
