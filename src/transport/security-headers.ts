/**
 * What an answer tells a browser: security headers, each at most once, the backend's or ours; the attributes of cookies; and
 * which pages of other origins may read it. Everything that does not depend on the answer is worked out once.
 */
import type { IncomingMessage } from 'node:http';
import type { Config, CookieRules, SecurityHeader } from '../config/schema.ts';
import type { AnswerEdit } from './exchange.ts';

/**
 * `list`: several lines mean the same as one line with commas (RFC 9110 5.3). `single`: browsers take the first, or none
 * of them, so that several lines protect less than one.
 */
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

/** Fields that name the software behind the gate, or time it: they help attackers alone. */
const TELLTALES: readonly string[] = [
  ...['server', 'via', 'x-powered-by', 'x-process-time', 'x-runtime', 'x-generator', 'x-aspnet-version'],
  'x-aspnetmvc-version',
];

interface SecureAnswerOptions {
  /** A value, `off` (in no answer) or `backend` (the backend's own alone). */
  readonly fields: Config['answers']['headers'];
  readonly backendFields: Config['answers']['backendHeaders'];
  /** Lower-case names of the fields that the gate writes itself: the backend's lines of them go. */
  readonly stated: Iterable<string>;
  /** The rules for the cookie of this name; undefined: its lines stay as they are. */
  readonly cookieRules: (name: string) => CookieRules | undefined;
}

interface Row {
  readonly name: SecurityHeader;
  /** Undefined: nothing is added. */
  readonly value: string | undefined;
  readonly keepsBackend: boolean;
}

const COOKIE = 'cookie';
const TAKEN = 'taken';
type Kind = Row | typeof COOKIE | typeof TAKEN;

/** @returns the edit for every answer that these options hold for; a 101 gets no fields, there being nothing to show */
export function secureAnswer({ fields, backendFields, stated, cookieRules }: SecureAnswerOptions): AnswerEdit {
  const kinds = new Map<string, Kind>([...TELLTALES, ...stated].map((name) => [name, TAKEN]));
  kinds.set('set-cookie', COOKIE);
  const rows = (Object.keys(SECURITY_FIELDS) as SecurityHeader[]).map((name) =>
    toRow(name, fields[name], backendFields),
  );
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

function toRow(name: SecurityHeader, text: string, backendFields: SecureAnswerOptions['backendFields']): Row {
  if (text === 'off') return { name, value: undefined, keepsBackend: false };
  if (text === 'backend') return { name, value: undefined, keepsBackend: true };
  return { name, value: text, keepsBackend: backendFields === 'wins' };
}

/** Closes the gaps in place. @returns the values of security fields that stood there, undefined where there were none */
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
    if (kind === COOKIE) {
      const rules = cookieRules(cookieName(value));
      if (rules !== undefined) value = enforceCookie(value, rules);
    } else if (kind !== undefined) {
      if (kind === TAKEN) continue;
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

/** Empty values of the backend are none; two different values where only one can hold are none either. */
function survivor({ name, value, keepsBackend }: Row, sent: readonly string[]): string | undefined {
  if (!keepsBackend) return value;
  const spoken = sent.filter((text) => text.trim() !== '');
  const [first] = spoken;
  if (first === undefined) return value;
  if (SECURITY_FIELDS[name] === 'list') return new Set(spoken).size === 1 ? first : spoken.join(', ');
  const isUnanimous = spoken.every((text) => text.trim().toLowerCase() === first.trim().toLowerCase());
  return isUnanimous ? first : (value ?? first);
}
// One `Set-Cookie` line, read as browsers read it (RFC 6265bis 5.7): split at every semicolon whatever quotes say, names of
// attributes in any letter case, of repeated ones the last. What is not changed keeps its bytes.

/** Browsers ignore an attribute with a longer value (RFC 6265bis 5.7). */
const LONGEST_ATTRIBUTE_VALUE = 1024;

/** @returns the name as a browser would store the cookie under, empty for a nameless one */
function cookieName(line: string): string {
  const semicolon = line.indexOf(';');
  const pair = semicolon === -1 ? line : line.slice(0, semicolon);
  const equals = pair.indexOf('=');
  return equals === -1 ? '' : trimBlanks(pair.slice(0, equals));
}

/** @returns the line with the attributes that the rules ask for, each of them once */
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
  const equals = attribute.indexOf('=');
  if (equals === -1) return [trimBlanks(attribute).toLowerCase(), ''];
  return [trimBlanks(attribute.slice(0, equals)).toLowerCase(), trimBlanks(attribute.slice(equals + 1))];
}

/** Spaces and tabs only: `trim` would take a no-break space for one, and read a name that no browser reads. */
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

// The Fetch standard's CORS protocol. The upstream decides for its own answers which pages may read them; for ours the
// gate says what it would. Preflights are answered by the upstream alone.

interface CrossOriginOptions {
  /** Origins as browsers spell them. */
  readonly origins: Config['answers']['origins'];
  /** Names, in lower case, of the fields of ours that a page may read. */
  readonly exposed: readonly string[];
}

type Asking = Pick<IncomingMessage, 'headers' | 'method'>;

const ALLOWED = 'access-control-allow-origin';
const EXPOSED = 'access-control-expose-headers';
const NONE: readonly AnswerEdit[] = [];

export function createCrossOrigin({ origins, exposed }: CrossOriginOptions) {
  const names = exposed.join(', ');
  /** What the upstream exposes stays, and it is the upstream that allows. */
  const expose: AnswerEdit = (lines) => {
    let allowed = false;
    let at = -1;
    for (let index = 0; index < lines.length; index += 2) {
      if (lines[index] === ALLOWED) allowed = true;
      else if (lines[index] === EXPOSED) at = index + 1;
    }
    if (!allowed) return;
    if (at === -1) lines.push(EXPOSED, names);
    else lines[at] = `${lines[at]}, ${names}`;
  };
  const exposing: readonly AnswerEdit[] = [expose];
  return {
    /**
     * Adds the lines that let the page read an answer of ours. As Starlette writes them with credentials: the origin
     * itself, never `*`. Without a request, whose origin is not known, `*` where any would do.
     */
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
    /** @returns the edits of every answer to this request, the upstream's and ours */
    edits: ({ headers, method }: Asking) => (headers.origin === undefined || method === 'OPTIONS' ? NONE : exposing),
  };
}
