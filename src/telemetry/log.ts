/**
 * JSON lines on standard output: `time` in ISO 8601, `level` as a word, `msg`, then the fields.
 *
 * Nothing secret leaves: every finished line is searched for the configured secrets, for what looks like a session
 * token or an API key, and for credential header fields, at any depth and inside any text, errors included.
 * Lines are written in batches (`line-writer.ts`).
 */
import { pino } from 'pino';
import type { LogLevel } from '../config/schema.ts';
import { LineWriter } from './line-writer.ts';

type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void;

export type FlatFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** An error goes into the field `err`; it is written with its stack and causes. */
export interface Log {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  readonly fatal: Write;
  /**
   * The same line at a quarter of the cost, for the one line that every request writes: pino's own serialiser took
   * 5 µs of a request, `JSON.stringify` takes 1. Only flat texts, numbers and booleans; undefined fields are left out.
   */
  readonly record: (level: 'info' | 'warn', fields: FlatFields, message: string) => void;
  /**
   * For lines that clients can cause at will: one a minute of each kind, with the number of those that were left out since
   * the line before it in `times`.
   *
   * @param kind what makes two lines the same: a word, best of a closed vocabulary; or an error, by where it was thrown
   */
  readonly sparingly: (level: 'warn' | 'error', kind: unknown, ...line: Parameters<Write>) => void;
  /**
   * Says how a decision on models came about: organizations, model, access. Undefined unless the log level of models is
   * `debug`, so that `log.explain?.(…)` does not even collect its fields.
   */
  readonly explain: ((fields: FlatFields, message: string) => void) | undefined;
  /** From the next line on. */
  setLevels(levels: LogLevels): void;
  /** Blanks out configured secrets and what looks like a credential, for what is shown elsewhere. */
  readonly redact: (text: string) => string;
  /** Resolves when earlier lines are out, or cannot be got out in a second; never rejects. */
  flush(): Promise<void>;
}

interface LogLevels {
  readonly level: LogLevel;
  /** Of what `explain` says; `level` where absent. */
  readonly modelLevel?: LogLevel;
}

interface LogOptions extends LogLevels {
  /** Texts that must never appear, such as the signing keys. */
  readonly secrets: readonly string[];
  /** Further header fields that carry credentials: `CUSTOM_API_KEY_HEADER`. */
  readonly secretHeaders?: readonly string[];
  /** Turns each finished line into another form than JSON. */
  readonly format?: ((line: string) => string) | undefined;
  /** Takes finished lines; standard output where absent. */
  readonly write?: (line: string) => void;
}

/** @returns the process's log */
export function createLog(options: LogOptions): Log {
  const { secrets, secretHeaders = [], format = asItIs, write } = options;
  const redact = createRedaction(secrets, secretHeaders);
  const output = write === undefined ? standardOutput(format) : { write, flush: () => Promise.resolve() };
  const writeSafe = (line: string): void => output.write(format(line));
  const logger = createPino((line) => writeSafe(redact.line(line)));
  const writeFlat = (word: string, fields: FlatFields, message: string): void => {
    const rest = JSON.stringify(fields).slice(1);
    const comma = rest === '}' ? '' : ',';
    const head = `{"time":"${now()}","level":"${word}","msg":${JSON.stringify(message)}`;
    writeSafe(redact.text(`${head}${comma}${rest}\n`));
  };
  const explain: Log['explain'] = (fields, message) => writeFlat('debug', fields, message);
  let written = { info: true, warn: true, explained: true };
  const setLevels = ({ level, modelLevel = level }: LogLevels): void => {
    logger.level = level;
    const explained = modelLevel === 'debug' || modelLevel === 'trace';
    written = { info: logger.isLevelEnabled('info'), warn: logger.isLevelEnabled('warn'), explained };
  };
  setLevels(options);
  const repeated = createRepeatedLines();
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    fatal: (fields, message) => logger.fatal(fields, message),
    record(word, fields, message) {
      if (written[word]) writeFlat(word, fields, message);
    },
    sparingly: (word, kind, fields, message) =>
      repeated(`${message} ${wordFor(kind)}`, (more) => logger[word]({ ...fields, ...more }, message)),
    get explain() {
      return written.explained ? explain : undefined;
    },
    setLevels,
    redact: redact.text,
    flush: () => output.flush(),
  };
}

const asItIs = (line: string): string => line;

/** pino puts the level first and the message last; given both as fields, it has them where they are read. */
function createPino(write: (line: string) => void) {
  return pino(
    {
      base: null,
      timestamp: () => `"time":"${now()}"`,
      formatters: { level: () => ({}) },
      serializers: { err: pino.stdSerializers.err },
      hooks: {
        logMethod([fields, msg], method, level) {
          method.call(this, { level: this.levels.labels[level], msg, ...(fields as object) });
        },
      },
    },
    { write },
  );
}

/** Of an error the place where it was thrown: its message may hold what a client has sent. */
function wordFor(kind: unknown): string {
  if (!(kind instanceof Error)) return String(kind);
  if (kind.cause instanceof Error) return wordFor(kind.cause);
  return /^ {4}at .*$/m.exec(kind.stack ?? '')?.[0] ?? kind.name;
}

let lastMs = 0;
let lastText = '';

/** Many lines share a millisecond, and its text costs as much as the rest of a line. */
function now(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastText = new Date(ms).toISOString();
  }
  return lastText;
}

function standardOutput(format: (line: string) => string): Pick<LineWriter, 'write' | 'flush'> {
  const lossNotice = (lines: number): string =>
    format(
      `{"time":"${now()}","level":"error","msg":"log lines were lost: standard output did not take them","lines":${lines}}\n`,
    );
  const writer = new LineWriter({ fd: 1, lossNotice });
  process.once('exit', () => writer.flushNow());
  return writer;
}

const CREDENTIAL_HEADERS = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'x-api-key'];
const REDACTED = '[redacted]';

/** A shorter text would blank out parts of ordinary words, and as a key it protects nothing. */
const SHORTEST_SECRET = 4;

interface Redaction {
  /** Blanks out configured secrets and what looks like a credential. */
  text(line: string): string;
  /** That, and credential header fields of any depth. */
  line(line: string): string;
}

/** A JWT of any kind (RFC 7519: base64url of `{"…`). */
const JWT = /\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/g;
/** An API key as the backend and most providers make them. */
const API_KEY = /\bsk-[\w-]{16,}/g;

/** @returns functions that make a finished JSON line safe to show */
function createRedaction(secrets: readonly string[], secretHeaders: readonly string[]): Redaction {
  const names = [...CREDENTIAL_HEADERS, ...secretHeaders].map(escapeRegExp).join('|');
  const fields = new RegExp(`("(?:${names})":)(?:"(?:[^"\\\\]|\\\\.)*"|\\[[^\\]]*\\])`, 'gi');
  // the longest first: a key with its newline, whose escape would otherwise be left behind
  const texts = secrets
    .filter((secret) => secret.length >= SHORTEST_SECRET)
    .map((secret) => JSON.stringify(secret).slice(1, -1))
    .sort((left, right) => right.length - left.length);
  const text = (line: string): string => {
    let safe = line;
    // looking for a literal first is ten times faster than the expression, and twice that for one that begins rarely
    if (safe.includes('yJ')) safe = safe.replace(JWT, REDACTED);
    if (safe.includes('k-')) safe = safe.replace(API_KEY, REDACTED);
    for (const secret of texts) if (safe.includes(secret)) safe = safe.replaceAll(secret, REDACTED);
    return safe;
  };
  return { text, line: (line) => text(line.replace(fields, `$1"${REDACTED}"`)) };
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

// Lines that clients can cause as often as they like: the first of a kind is written at once; those of the minute after it
// are counted, and one line gives their number when the minute is over.

const MINUTE_MS = 60_000;
/** Kinds in a minute; all further ones are one kind. */
const MOST_KINDS = 64;
const OTHERS = 'others';

type Fields = Readonly<Record<string, unknown>>;

/** @returns a function that writes, or counts, a line of this kind; its timers keep no process alive */
function createRepeatedLines(): (kind: string, write: (more: Fields) => void) => void {
  const counted = new Map<string, { times: number; write: (more: Fields) => void }>();
  const begin = (kind: string, write: (more: Fields) => void): void => {
    counted.set(kind, { times: 0, write });
    setTimeout(() => end(kind), MINUTE_MS).unref();
  };
  const end = (kind: string): void => {
    const { times = 0, write } = counted.get(kind) ?? {};
    counted.delete(kind);
    if (times === 0 || write === undefined) return;
    write({ times });
    begin(kind, write);
  };
  return (wanted, write) => {
    const kind = counted.size < MOST_KINDS || counted.has(wanted) ? wanted : OTHERS;
    const known = counted.get(kind);
    if (known === undefined) {
      write({});
      begin(kind, write);
    } else {
      known.times += 1;
      known.write = write;
    }
  };
}
