/** Every finished line is searched for configured secrets, session tokens, API keys and credential headers. */
import { pino } from 'pino';
import type { LogLevel } from '../config/schema.ts';
import { LineWriter } from './line-writer.ts';

type Fields = Readonly<Record<string, unknown>>;
export type FlatFields = Readonly<Record<string, string | number | boolean | undefined>>;

interface LogLevels {
  readonly level: LogLevel;
  readonly modelLevel?: LogLevel;
}

interface LogOptions extends LogLevels {
  readonly secrets: readonly string[];
  readonly secretHeaders?: readonly string[];
  readonly format?: ((line: string) => string) | undefined;
  readonly write?: (line: string) => void;
}

export type Log = ReturnType<typeof createLog>;

/** @returns the process's log; an error in the field `err` is written with its stack and causes */
export function createLog(options: LogOptions) {
  const { secrets, secretHeaders = [], format = (line: string) => line, write } = options;
  const redact = createRedaction(secrets, secretHeaders);
  const output = write === undefined ? standardOutput(format) : { write, flush: () => Promise.resolve() };
  const logger = createPino((line) => output.write(format(redact.line(line))));
  const at = (level: 'info' | 'warn' | 'error' | 'fatal') => (fields: Fields, message: string) =>
    logger[level](fields, message);
  const writeFlat = (word: string, fields: FlatFields, message: string): void => {
    const rest = JSON.stringify(fields).slice(1);
    const head = `{"time":"${now()}","level":"${word}","msg":${JSON.stringify(message)}`;
    output.write(format(redact.text(`${head}${rest === '}' ? '' : ','}${rest}\n`)));
  };
  const explain = (fields: FlatFields, message: string) => writeFlat('debug', fields, message);
  let written = { info: true, warn: true, explained: true };
  const setLevels = ({ level, modelLevel = level }: LogLevels): void => {
    logger.level = level;
    const explained = modelLevel === 'debug' || modelLevel === 'trace';
    written = { info: logger.isLevelEnabled('info'), warn: logger.isLevelEnabled('warn'), explained };
  };
  setLevels(options);
  return {
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    /** For the one line that every request writes: pino's own serialiser took 5 µs, `JSON.stringify` takes 1. */
    record(level: 'info' | 'warn', fields: FlatFields, message: string): void {
      if (written[level]) writeFlat(level, fields, message);
    },
    sparingly: createRepeatedLines((level, fields, message) => logger[level](fields, message)),
    /** Undefined unless the log level of models is `debug`: `log.explain?.(…)` does not even collect its fields. */
    get explain() {
      return written.explained ? explain : undefined;
    },
    setLevels,
    redact: redact.text,
    flush: () => output.flush(),
  };
}

/** pino puts the level first and the message last, but for those that are given as fields. */
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

let lastMs = 0;
let lastText = '';

function now(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastText = new Date(ms).toISOString();
  }
  return lastText;
}

function standardOutput(format: (line: string) => string): LineWriter {
  const message = 'log lines were lost: standard output did not take them';
  const lossNotice = (lines: number): string =>
    format(`{"time":"${now()}","level":"error","msg":"${message}","lines":${lines}}\n`);
  const writer = new LineWriter({ fd: 1, lossNotice });
  process.once('exit', () => writer.flushNow());
  return writer;
}

const CREDENTIAL_HEADERS = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'x-api-key'];
const REDACTED = '[redacted]';

/** A shorter text would blank out parts of ordinary words, and as a key it protects nothing. */
const SHORTEST_SECRET = 4;

/** A JWT of any kind (RFC 7519: base64url of `{"…`). */
const JWT = /\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/g;
/** An API key as the backend and most providers make them. */
const API_KEY = /\bsk-[\w-]{16,}/g;

function createRedaction(secrets: readonly string[], secretHeaders: readonly string[]) {
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
  return {
    text,
    line: (line: string) => text(line.replace(fields, `$1"${REDACTED}"`)),
  };
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const MINUTE_MS = 60_000;
const MOST_KINDS = 64;
type Repeatable = (level: 'warn' | 'error', fields: Fields, message: string) => void;

/** The first line of a kind is written at once, the others are counted in one line a minute. */
function createRepeatedLines(write: Repeatable) {
  const counted = new Map<string, { times: number; last: () => void }>();
  /** @param kind a word, best of a closed vocabulary; or an error, by where it was thrown */
  return function sparingly(level: 'warn' | 'error', kind: unknown, fields: Fields, message: string): void {
    const wanted = `${message} ${wordFor(kind)}`;
    const name = counted.size < MOST_KINDS || counted.has(wanted) ? wanted : 'others';
    const known = counted.get(name);
    if (known !== undefined) {
      known.times += 1;
      known.last = () => write(level, { ...fields, times: known.times }, message);
      return;
    }
    write(level, fields, message);
    const line = { times: 0, last: () => write(level, fields, message) };
    counted.set(name, line);
    const timer = setInterval(() => {
      if (line.times > 0) line.last();
      else {
        counted.delete(name);
        clearInterval(timer);
      }
      line.times = 0;
    }, MINUTE_MS).unref();
  };
}

/** Of an error the place where it was thrown: its message may hold what a client has sent. */
function wordFor(kind: unknown): string {
  if (!(kind instanceof Error)) return String(kind);
  if (kind.cause instanceof Error) return wordFor(kind.cause);
  return /^ {4}at .*$/m.exec(kind.stack ?? '')?.[0] ?? kind.name;
}
