/** What a command may touch of its process, what it says, asks and shows there, and how it ends. */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { basename, relative } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type Readable, Writable } from 'node:stream';
import { stripVTControlCharacters, styleText } from 'node:util';
import type stringWidth from 'string-width';
import { type FailureCode, OperationFailure } from '../backend-file/failure.ts';
import { COMMAND, commandsIn, shellCommand } from '../backend-file/text.ts';
import type { Step } from '../upkeep/verified-copy.ts';

export interface Terminal {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly screen: Screen;
  input(): Readable;
  write(text: string): void;
  writeError(text: string): void;
  /** Aborted by the first SIGTERM or SIGINT, or SIGHUP if nothing else takes it; its reason is a `StopSignal`. */
  readonly stop: AbortSignal;
  /** From now on SIGHUP does this, and ends nothing. */
  onHangUp(action: () => void): void;
  /** From now on, uncaught errors go here; when a fatal one has been reported, the process ends. */
  onBug(report: BugReport): void;
  /** How the command was called; absent: as `modelgate`, with nothing that advised commands must repeat. */
  readonly given?: Given;
}

/** What is a terminal: a question can be asked there, and colours and progress do not belong into a file. */
export type Screen = Readonly<Record<'input' | 'output' | 'error', boolean> & { columns: number }>;

export type BugReport = (error: unknown, isFatal: boolean) => Promise<void>;

/** Sentences for the operator, on standard error: standard output may be a file. */
export const say = (terminal: Terminal, sentence: string): void =>
  terminal.writeError(`modelgate: ${laidOut(sentence, givenOf(terminal))}\n`);

export class StopSignal extends Error {
  /** As shells report the end by this signal: 130 for SIGINT. */
  readonly exitCode: number;

  constructor(signal: keyof typeof constants.signals) {
    super(`${signal} was received`);
    this.name = 'StopSignal';
    this.exitCode = 128 + constants.signals[signal];
  }
}

export const stoppedBy = ({ reason }: AbortSignal): StopSignal =>
  reason instanceof StopSignal ? reason : new StopSignal('SIGINT');

/** Exit codes of every command; one that was stopped before it was done ends with that of its `StopSignal`. */
export const EXIT = {
  done: 0,
  /** It ran and failed, or found what it looks for to be wrong. */
  failed: 1,
  /** It did not run: wrong configuration or wrong words on the command line. */
  misused: 2,
} as const;

/** Ends a command with one sentence on standard error. */
export class CommandFailure extends OperationFailure {
  constructor(
    sentence: string,
    exitCode: number = EXIT.failed,
    { code, ...options }: { cause?: unknown; code?: FailureCode } = {},
  ) {
    super(sentence, { code: code ?? (exitCode === EXIT.misused ? 'misused' : 'failed'), ...options });
    this.name = 'CommandFailure';
  }
}

/** The words on the command line are wrong. */
export const misused = (sentence: string, options?: { cause: unknown }): CommandFailure =>
  new CommandFailure(sentence, EXIT.misused, options);

type Consent = Readonly<{ yes?: boolean; json?: boolean; tokenFile?: string }>;

/**
 * Asks on standard error, as standard output may be a file: only a yes is one. With `--yes` nothing is asked.
 * @throws CommandFailure as `requireConsent`, and where the answer is no
 */
export async function askForConsent(terminal: Terminal, options: Consent, question: string): Promise<void> {
  if (options.yes === true) return;
  requireConsent(terminal, {});
  terminal.writeError(`${question} [y/N] `);
  const ended = new AbortController();
  const lines = createInterface({ input: terminal.input() }).once('close', () => ended.abort());
  const signal = AbortSignal.any([terminal.stop, ended.signal]);
  const answer = await lines.question('', { signal }).catch(() => terminal.writeError('\n'));
  lines.close();
  if (/^\s*y(?:es)?\s*$/i.test(answer ?? '')) return;
  throw new CommandFailure('Nothing was changed.', EXIT.failed, { code: 'declined' });
}

/** Asks on standard error for what no screen may show. @returns the line, or undefined after Ctrl-C or Ctrl-D */
export async function askHidden(terminal: Terminal, question: string): Promise<string | undefined> {
  terminal.writeError(question);
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const ended = new AbortController();
  const lines = createInterface({ input: terminal.input(), output: unseen, terminal: true, historySize: 0 });
  lines.once('close', () => ended.abort());
  const signal = AbortSignal.any([terminal.stop, ended.signal]);
  const answer = await lines.question('', { signal }).catch(() => undefined);
  lines.close();
  terminal.writeError('\n');
  return answer;
}

/** Before long work that could not be confirmed in the end. @throws CommandFailure with exit code 2 where no person can be asked */
export function requireConsent({ screen }: Terminal, { yes, json, tokenFile }: Consent, instead = '--yes'): void {
  if (yes === true || (json !== true && tokenFile !== '-' && screen.input && screen.error)) return;
  const unasked = tokenFile === '-' ? 'Standard input holds the token' : 'Not a terminal';
  const why = json === true ? 'With --json no question is asked' : unasked;
  throw misused(`${why}, so it cannot be confirmed. Add ${instead}. Nothing was changed.`);
}

const REDRAW_EVERY_MS = 100;
const BAR = 24;
/** To the first column, and clear what stands there (ECMA-48 CHA, EL). */
const WIPE = '\r\u001b[2K';

/** Steps that are counted in bytes. */
const IN_BYTES: Readonly<Record<string, string>> = {
  ...{ copy: 'copying', check: 'checking', compress: 'compressing', verify: 'comparing', decompress: 'unpacking' },
} satisfies Record<Step, string>;

const MEGABYTE = 1024 * 1024;

/** How far long work is, in one line of a terminal that is drawn over and wiped at the end. */
export function createProgress({ screen, writeError }: Terminal) {
  let [current, drawnAt] = ['', Number.NEGATIVE_INFINITY];
  return {
    /** @param counted what is counted, where it is no bytes */
    at: (step: string, done: number, total: number, counted = ''): void => {
      const now = performance.now();
      const isEarly = step === current && now - drawnAt < REDRAW_EVERY_MS && done < total;
      if (!screen.error || isEarly) return;
      [current, drawnAt] = [step, now];
      const share = total > 0 ? Math.min(1, done / total) : 1;
      const bar = '█'.repeat(Math.round(share * BAR)).padEnd(BAR, '░');
      const label = IN_BYTES[step];
      const all =
        label === undefined
          ? `${total.toLocaleString('en')} ${counted}`.trimEnd()
          : `${Math.ceil(total / MEGABYTE).toLocaleString('en')} MB`;
      const line = `${label ?? step} ${bar} ${Math.floor(share * 100)} % of ${all}`;
      writeError(`${WIPE}${line.slice(0, screen.columns - 1)}`);
    },
    [Symbol.dispose]: (): void => {
      if (current !== '') writeError(WIPE);
    },
  };
}

/** How a command was called: an advised command is completed with it, so that it works where it is pasted. */
export type Given = Readonly<Record<'invocation' | 'options', string>>;

export const givenOf = ({ given = { invocation: 'modelgate', options: '' } }: Terminal): Given => given;

/** @param npmCommand `npm_command`, npm's word for what it does @returns how to call this program again from the same place */
export function invocationOf(script: string, npmCommand: string | undefined): string {
  if (npmCommand === 'exec') return 'npx modelgate';
  return basename(script) === 'modelgate' ? 'modelgate' : shellCommand('node', relative('', script));
}

/** @returns each command on a line of its own, with nothing behind it; the text around it in lines between */
export function laidOut(text: string, given: Given): string {
  let [lines, end] = ['', 0];
  for (const { 0: marked, 1: command = '', index } of text.matchAll(COMMAND)) {
    lines += text.slice(end, index).trimEnd();
    if (lines !== '' && !lines.endsWith('\n')) lines += '\n';
    lines += `  ${completed(command, given)}\n`;
    end = index + marked.length + (/^[.,;:]? *\n?/.exec(text.slice(index + marked.length))?.[0].length ?? 0);
  }
  return end === text.length && !text.endsWith('\n') ? lines.replace(/\n$/, '') : lines + text.slice(end);
}

/** @returns the text in one line as it was, for JSON; each command completed */
export const inPlace = (text: string, given: Given): string =>
  text.replace(COMMAND, (_, command: string) => `\`${completed(command, given)}\``);

/** @returns the advice of a record for JSON, with the commands alone beside it; each command completed */
export const completedAdvice = (advice: string, given: Given) => ({
  advice: inPlace(advice, given),
  commands: commandsIn(advice).map((command) => completed(command, given)),
});

function completed(command: string, { invocation, options }: Given): string {
  const words = /^modelgate (.+)$/s.exec(command)?.[1];
  return words === undefined ? command : `${invocation} ${words}${options}`;
}

type Emphasis = 'bold' | 'red' | 'green' | 'yellow' | 'dim';

/** Coloured on a terminal that wants it (https://no-color.org), plain elsewhere. */
export function emphasize({ screen, environment }: Terminal, emphasis: Emphasis, text: string): string {
  const unwanted = (environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb';
  return screen.output && !unwanted ? styleText(emphasis, text, { validateStream: false }) : text;
}

/** Most cells; looking for each unprintable character takes ten times as long. */
export const PLAIN = /^[ -~]*$/;

const require = createRequire(import.meta.url);
let measure: typeof stringWidth | undefined;

/** Columns of a terminal: 2 for East Asian scripts and emoji, none for what sets colours. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  // its tables take 40 ms of every start, and few texts need them
  measure ??= (require('string-width') as { readonly default: typeof stringWidth }).default;
  return measure(text);
}

/** Breaks long lines between words; `NAME=value` and what stands between backticks stay whole, a command goes on behind a backslash. */
export const fitLines = (text: string, columns: number): string =>
  text.replace(/[^\n]+/g, (line) => fitLine(line, columns));

const SETTING = /^[A-Z_]+=/;
const SHELL_LINE = /^ +(?:\$|npx|node|modelgate|chmod|mkdir|kill|[A-Z_]+=\S+) /;
const WORDS = /\s*(?:`[^`]*`|\S)+|\s+$/g;
const SHELL_WORDS = /\s*(?:'[^']*'|"[^"]*"|\S)+/g;
const NARROW = 20;

function fitLine(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  if (widthOf(plain) <= columns || SETTING.test(plain)) return line;
  const isCommand = SHELL_LINE.test(plain);
  const starts = [...plain.matchAll(/(?:^ | ) +(?=\S)/g)].map(({ 0: gap, index }) => index + gap.length);
  const hang = isCommand ? 4 : (starts.findLast((start) => start <= columns - NARROW) ?? 0);
  const [limit, end] = isCommand ? [columns - 2, ' \\'] : [columns, ''];
  let [text, width] = ['', 0];
  for (const word of line.match(isCommand ? SHELL_WORDS : WORDS) ?? []) {
    const size = widthOf(word);
    const isBreak = width > hang && width + size > limit;
    const part = isBreak ? word.trimStart() : word;
    text += isBreak ? `${end}\n${' '.repeat(hang)}${part}` : part;
    width = isBreak ? hang + widthOf(part) : width + size;
  }
  return text;
}
