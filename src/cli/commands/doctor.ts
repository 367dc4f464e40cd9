/** `modelgate doctor`: looks for what usually is wrong, and with `--user` why a user sees no models. Changes nothing. */
import type { Command } from '@commander-js/extra-typings';
import { OperationFailure } from '../../backend-file/failure.ts';
import { type ConfigIssue, findingOf } from '../../config/issue.ts';
import { loadConfig, loadStoreConfig } from '../../config/load.ts';
import type { StoreConfig } from '../../config/schema.ts';
import { diagnose } from '../../diagnosis/diagnosis.ts';
import type { Finding, Status } from '../../diagnosis/finding.ts';
import { ORDINARY_TRIAL } from '../../diagnosis/locks.ts';
import { weaknessesOf } from '../../gate/weaknesses.ts';
import { explainUser } from '../../organizations/explanation.ts';
import { configurationFailure, environmentWith, gatePolicyOf, operationOn } from '../configured.ts';
import { type CommandLine, type OptionsOf, onDatabase } from '../options.ts';
import { counted, printable } from '../format.ts';
import { type Cell, type Emphasis, asJson, asRows, emphasize, toErrorJson } from '../report.ts';
import { createProgress } from '../progress.ts';
import { type Given, type Terminal, EXIT, givenOf, inPlace, laidOut, tell } from '../terminal.ts';
import { describeUser as describePerson } from './explain-decision.ts';
import { membershipRows } from './explain.ts';

/** Adds `doctor`. */
export function addDoctor({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (options) => exitWith(await doctor(options, terminal)));
}

const declare = (program: Command) =>
  onDatabase(
    program
      .command('doctor')
      .description(
        `look for what usually is wrong, and say what to do; nothing is changed

In place of the guide's troubleshooting: settings (bypass, report mode, key), the backend (reachable, clock, same key), the file (permissions, folder, backups), tables and triggers, release, admins, what is in the way of an upgrade, index use and statistics, foreign rows, journal mode and who sets it, write-ahead log, a trial of the locks, integrity.

Run it with the environment of the gate. Exit code 1 where there is a problem; warnings alone are 0.`,
      )
      .summary('look for what usually is wrong, and say what to do; nothing is changed')
      .option('--user <id>', 'also look why this user sees no models; id or e-mail address')
      .option('--quick', 'leave out what reads the whole file (integrity check)')
      .option('--all', 'also print what every check that passed has found'),
    'modelgate doctor --database data/webui.db',
    'modelgate doctor --user alice@example.com',
  );

type DoctorOptions = OptionsOf<typeof declare>;

/** What `--json` prints; absent things are null. */
export interface DoctorReport {
  readonly database: string;
  readonly problems: number;
  readonly warnings: number;
  readonly not_checked: number;
  readonly checks: readonly Finding[];
  /** Only with `--user`. */
  readonly user: UserReport | null;
}

type UserReport = ReturnType<typeof toUserReport>;

/** @returns 1 where a problem was found @throws CommandFailure, OperationFailure where the words of the command are wrong */
async function doctor(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const { store, seen, upstream, secretKeys } = readSettings(terminal, options);
  const operation = operationOn(store, terminal, options);
  const progress = createStages(terminal);
  const checks = await diagnose({
    operation,
    settings: seen,
    upstream,
    secretKeys,
    walWanted: toFlag(terminal.environment['DATABASE_ENABLE_SQLITE_WAL']),
    quick: options.quick === true,
    lockTrial: ORDINARY_TRIAL,
    onProgress: progress.at,
  }).finally(() => progress.end());
  const count = (status: Status): number => checks.filter((finding) => finding.status === status).length;
  const [problems, warnings, unchecked] = [count('problem'), count('warning'), count('unknown')];
  const { user: named } = options;
  const asked = named === undefined ? null : await ask(() => explainUser(operation, named, gatePolicyOf(store)));
  if (options.json === true) {
    const given = givenOf(terminal);
    const user = asked === null || 'failure' in asked ? null : toUserReport(asked.record, given);
    const database = store.database.path;
    const pasted = checks.map((check) => pasteable(check, given));
    const found = { database, problems, warnings, not_checked: unchecked, checks: pasted, user } satisfies DoctorReport;
    const error = asked !== null && 'failure' in asked ? { error: toErrorJson(asked.failure, given) } : {};
    terminal.write(asJson({ ...found, ...error }));
  } else {
    terminal.write(describeFindings(terminal, checks, options.all === true));
    if (asked !== null && !('failure' in asked)) tell(terminal, `\n${describeUser(asked)}`);
    terminal.write(`\n${summary(problems, warnings, unchecked)}\n`);
  }
  if (asked !== null && 'failure' in asked) throw asked.failure;
  return problems > 0 ? EXIT.failed : EXIT.done;
}

/**
 * The configuration as far as it goes: `doctor` looks for mistakes, so none of them may stop it. What the database needs
 * must be there; what only the gate needs may be missing, and is a finding.
 * @throws CommandFailure with exit code 2 where not even the database is named
 */
function readSettings(terminal: Terminal, { config: file, database }: DoctorOptions) {
  const { directory } = terminal;
  const environment = environmentWith(terminal, database);
  const { issues: first = [] } = loadConfig({ environment, directory, file });
  const absent = new Set(first.filter(isAbsent).map(({ setting }) => setting));
  const standIns = Object.fromEntries(Object.entries(STAND_INS).filter(([name]) => absent.has(name)));
  const parsed = loadConfig({ environment: { ...environment, ...standIns }, directory, file });
  const seen = { hasUpstream: !absent.has('MODELGATE_UPSTREAM_URL'), hasSecretKey: !absent.has('WEBUI_SECRET_KEY') };
  if (parsed.issues !== undefined) {
    const store = withoutMistakes(terminal, environment, parsed.issues, database);
    const mistakes = parsed.issues.map(inOneLine);
    return { store, seen: { ...seen, mistakes, weaknesses: [] }, upstream: undefined, secretKeys: [] };
  }
  const { config } = parsed;
  const secretKeys = seen.hasSecretKey ? config.identity.secretKeys : [];
  return {
    store: config,
    seen: { ...seen, mistakes: [], weaknesses: weaknessesOf({ ...config, identity: { secretKeys } }) },
    upstream: seen.hasUpstream ? config.upstream.url : undefined,
    secretKeys,
  };
}

/** What lets the rest be read; nothing is ever sent to or signed with them. */
const STAND_INS = { MODELGATE_UPSTREAM_URL: 'http://not-set.invalid', WEBUI_SECRET_KEY: 'not set, and long enough' };

const isAbsent = ({ setting, found }: ConfigIssue): boolean => setting in STAND_INS && found === 'nothing';

/** The database alone, with every other setting as it is by default. */
function withoutMistakes(
  { directory }: Terminal,
  environment: Readonly<Record<string, string | undefined>>,
  issues: readonly ConfigIssue[],
  database: string | undefined,
): StoreConfig {
  const { DATABASE_URL, DATA_DIR } = environment;
  const parsed = loadStoreConfig({ environment: { DATABASE_URL, DATA_DIR }, directory });
  if (parsed.issues === undefined) return parsed.config;
  throw configurationFailure(issues, database ?? null);
}

const inOneLine = (issue: ConfigIssue): string => `${issue.setting}: ${findingOf(issue)}; expected ${issue.expected}.`;

/** A user who cannot be found must not cost what was found out about the file. */
async function ask<T>(explain: () => Promise<T>): Promise<T | { readonly failure: OperationFailure }> {
  try {
    return await explain();
  } catch (error) {
    if (error instanceof OperationFailure) return { failure: error };
    throw error;
  }
}

/** As the backend reads it: `env.py`, `.lower() == 'true'`. */
function toFlag(text: string | undefined): boolean | undefined {
  return text === undefined || text === '' ? undefined : text.toLowerCase() === 'true';
}

/** Each stage is a line of its own that is drawn over. */
function createStages(terminal: Terminal) {
  let [current, progress] = ['', createProgress(terminal, '', 'step')];
  return {
    at(label: string, done: number, total: number): void {
      if (label !== current) {
        progress.end();
        [current, progress] = [label, createProgress(terminal, label, label === 'copying' ? 'byte' : 'step')];
      }
      progress.at(done, total);
    },
    end: () => progress.end(),
  };
}

const COLOURS: Record<Status, Emphasis> = { ok: 'green', warning: 'yellow', problem: 'red', unknown: 'dim' };
const MARK_WIDTH = 'problem'.length;
const NAME_WIDTH = 'version counter'.length;

const INDENT = ' '.repeat(MARK_WIDTH + NAME_WIDTH + 4);

/** What is to be done first comes first; of what is well the names alone. */
const ORDER: readonly Status[] = ['problem', 'warning', 'unknown', 'ok'];

function describeFindings(terminal: Terminal, checks: readonly Finding[], all: boolean): string {
  const ordered = ORDER.flatMap((status) => checks.filter((finding) => finding.status === status));
  const shown = all ? ordered : ordered.filter(({ status }) => status !== 'ok');
  const passed = ordered.slice(shown.length).map(({ name }) => name);
  const folded =
    passed.length === 0
      ? ''
      : `${emphasize(terminal, COLOURS.ok, 'ok'.padEnd(MARK_WIDTH))}  ${counted(passed.length, 'check')} passed: ${[...new Set(passed)].join(', ')}\n`;
  return shown.map((finding) => describeFinding(terminal, finding)).join('') + folded;
}

function describeFinding(terminal: Terminal, { name, status, finding, remedy }: Finding): string {
  const mark = emphasize(terminal, COLOURS[status], status.padEnd(MARK_WIDTH));
  const line = `${mark}  ${name.padEnd(NAME_WIDTH)}  ${printable(finding, false)}\n`;
  if (remedy === null) return line;
  const indented = laidOut(printable(remedy, false), givenOf(terminal)).replaceAll('\n', `\n${INDENT}`);
  return `${line}${INDENT}→ ${indented.trimStart()}\n`;
}

function summary(problems: number, warnings: number, unchecked: number): string {
  const found = [
    ...(problems > 0 ? [counted(problems, 'problem')] : []),
    ...(warnings > 0 ? [counted(warnings, 'warning')] : []),
  ];
  const aside = unchecked > 0 ? ` ${counted(unchecked, 'thing')} could not be checked.` : '';
  const code = problems > 0 ? '1: there is a problem' : '0: there is no problem';
  return `${found.length === 0 ? 'Nothing is wrong' : found.join(' and ')}.${aside} Exit code ${code}.`;
}

const pasteable = ({ remedy, ...finding }: Finding, given: Given): Finding => ({
  ...finding,
  remedy: remedy === null ? null : inPlace(remedy, given),
});

function toUserReport(
  { user, advice, memberships, enrolment, settings, not_enforced }: Explained['record'],
  given: Given,
) {
  return { ...user, advice: inPlace(advice, given), memberships, enrolment, settings, not_enforced };
}

type Explained = Awaited<ReturnType<typeof explainUser>>;

/** Of one organization; `modelgate org show` prints them all. */
const SHOWN_MODELS = 20;

function describeUser({ record, joining }: Explained): string {
  const memberships = joining === undefined ? record.memberships : [joining];
  const rows: (readonly [string, Cell])[] = [['user', describePerson(record.user)]];
  for (const membership of memberships) {
    rows.push(...membershipRows([membership], joining));
    const models = membership.counts ? membership.models : [];
    for (const { pattern, active } of models.slice(0, SHOWN_MODELS)) {
      rows.push([active ? '  model' : '  model, off', pattern]);
    }
    const more = models.length - SHOWN_MODELS;
    if (more > 0) rows.push(['  models', `and ${counted(more, 'model')} more`]);
  }
  if (memberships.length === 0) rows.push(...membershipRows([], undefined));
  if (record.not_enforced !== null) rows.push(['not enforced', record.not_enforced]);
  return `${asRows(rows)}\n${printable(record.advice, false)}\n`;
}
