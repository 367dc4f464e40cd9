/** `modelgate doctor`: looks for what usually is wrong, and with `--user` why a user sees no models. Changes nothing. */
import type { Command } from '@commander-js/extra-typings';
import { OperationFailure } from '../../backend-file/failure.ts';
import { findingOf } from '../../config/settings.ts';
import { loadConfig, loadStoreConfig } from '../../config/load.ts';
import { diagnose } from '../../diagnosis/diagnosis.ts';
import type { Finding, Status } from '../../diagnosis/finding.ts';
import { weaknessesOf } from '../../gate/weaknesses.ts';
import { explainUser } from '../../organizations/explanation.ts';
import { type Fact, counted, print, printable, emphasize, toErrorJson } from '../report.ts';
import {
  type OptionsOf,
  commandOf,
  configurationFailure,
  environmentWith,
  gatePolicyOf,
  onDatabase,
  operationOn,
} from '../options.ts';
import { createStepProgress } from '../prompt.ts';
import { type Terminal, EXIT, givenOf, inPlace, laidOut } from '../terminal.ts';
import { describeUser, membershipRows, notEnforced } from './explain.ts';

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

export const addDoctor = commandOf(declare, doctor);
type DoctorOptions = OptionsOf<typeof declare>;

async function doctor(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const { store, ...context } = readSettings(terminal, options);
  const operation = operationOn(store, terminal, options);
  const steps = createStepProgress(terminal);
  const found = await diagnose({
    ...context,
    operation,
    walWanted: toFlag(terminal.environment['DATABASE_ENABLE_SQLITE_WAL']),
    quick: options.quick === true,
    onProgress: steps.onStep,
  }).finally(steps.end);
  const { user: named } = options;
  const asked = named === undefined ? null : await ask(() => explainUser(operation, named, gatePolicyOf(store)));
  const user = asked instanceof OperationFailure ? null : asked;
  const given = givenOf(terminal);
  const count = (status: Status): number => found.filter((finding) => finding.status === status).length;
  const counts = { problems: count('problem'), warnings: count('warning'), not_checked: count('unknown') };
  const checks = found.map(({ remedy, ...rest }) => ({ ...rest, remedy: remedy && inPlace(remedy, given) }));
  const toReport = ({ user: who, memberships, enrolment, settings, not_enforced, advice }: Explained['record']) => ({
    ...who,
    ...{ advice: inPlace(advice, given), memberships, enrolment, settings, not_enforced },
  });
  const record = {
    database: store.database.path,
    ...counts,
    checks,
    user: user && toReport(user.record),
    ...(asked instanceof OperationFailure ? { error: toErrorJson(asked, given) } : {}),
  };
  const parts = [
    describeFindings(terminal, found, options.all === true),
    ...(user === null ? [] : [factsOn(user), printable(user.record.advice, false)]),
    summary(counts.problems, counts.warnings, counts.not_checked),
  ];
  const code = print(terminal, options, { record, parts, code: counts.problems > 0 ? EXIT.failed : EXIT.done });
  if (asked instanceof OperationFailure) throw asked;
  return code;
}

/** The configuration as far as it goes: no mistake in it may stop `doctor`. What only the gate needs may be missing. */
function readSettings(terminal: Terminal, { config: file, database }: DoctorOptions) {
  const { directory } = terminal;
  const environment = environmentWith(terminal, database);
  const { issues: first = [] } = loadConfig({ environment, directory, file });
  const absent = (['MODELGATE_UPSTREAM_URL', 'WEBUI_SECRET_KEY'] as const).filter((name) =>
    first.some(({ setting, found }) => setting === name && found === 'nothing'),
  );
  const standIns = Object.fromEntries(absent.map((name) => [name, STAND_INS[name]]));
  const parsed = loadConfig({ environment: { ...environment, ...standIns }, directory, file });
  if (parsed.issues === undefined) {
    const { config } = parsed;
    const secretKeys = absent.includes('WEBUI_SECRET_KEY') ? [] : config.identity.secretKeys;
    const weaknesses = weaknessesOf({ ...config, identity: { secretKeys } });
    const upstream = absent.includes('MODELGATE_UPSTREAM_URL') ? undefined : config.upstream.url;
    return { store: config, settings: { absent, mistakes: [], weaknesses }, upstream, secretKeys };
  }
  const { DATABASE_URL, DATA_DIR } = environment;
  const alone = loadStoreConfig({ environment: { DATABASE_URL, DATA_DIR }, directory });
  if (alone.issues !== undefined) throw configurationFailure(parsed.issues, database ?? null);
  const mistakes = parsed.issues.map((issue) => `${issue.setting}: ${findingOf(issue)}; expected ${issue.expected}.`);
  return { store: alone.config, settings: { absent, mistakes, weaknesses: [] }, upstream: undefined, secretKeys: [] };
}

/** What lets the rest be read; nothing is ever sent to or signed with them. */
const STAND_INS = { MODELGATE_UPSTREAM_URL: 'http://not-set.invalid', WEBUI_SECRET_KEY: 'not set, and long enough' };

/** A user who cannot be found must not cost what was found out about the file. */
const ask = (explain: () => Promise<Explained>) =>
  explain().catch((error: unknown) => {
    if (error instanceof OperationFailure) return error;
    throw error;
  });

/** As the backend reads it: `env.py`, `.lower() == 'true'`. */
const toFlag = (text = ''): boolean | undefined => (text === '' ? undefined : text.toLowerCase() === 'true');

const COLOURS = { problem: 'red', warning: 'yellow', unknown: 'dim', ok: 'green' } as const;
const MARK_WIDTH = 'problem'.length;
const NAME_WIDTH = 'version counter'.length;
const INDENT = ' '.repeat(MARK_WIDTH + NAME_WIDTH + 4);

function describeFindings(terminal: Terminal, findings: readonly Finding[], all: boolean): string {
  const mark = (status: Status): string => emphasize(terminal, COLOURS[status], status.padEnd(MARK_WIDTH));
  const describe = ({ name, status, finding, remedy }: Finding): string => {
    const line = `${mark(status)}  ${name.padEnd(NAME_WIDTH)}  ${printable(finding, false)}`;
    if (remedy === null) return line;
    const indented = laidOut(printable(remedy, false), givenOf(terminal)).replaceAll('\n', `\n${INDENT}`);
    return `${line}\n${INDENT}→ ${indented.trimStart()}`;
  };
  const by = Object.groupBy(findings, ({ status }) => status);
  const passed = all ? [] : (by.ok ?? []);
  const shown = [by.problem, by.warning, by.unknown, all ? by.ok : []].flatMap((some = []) => some).map(describe);
  const names = [...new Set(passed.map(({ name }) => name))].join(', ');
  if (passed.length > 0) shown.push(`${mark('ok')}  ${counted(passed.length, 'check')} passed: ${names}`);
  return shown.join('\n');
}

function summary(problems: number, warnings: number, unchecked: number): string {
  const found = Object.entries({ problem: problems, warning: warnings }).filter(([, count]) => count > 0);
  const said = found.map(([what, count]) => counted(count, what)).join(' and ') || 'Nothing is wrong';
  const aside = unchecked > 0 ? ` ${counted(unchecked, 'thing')} could not be checked.` : '';
  const code = problems > 0 ? '1: there is a problem' : '0: there is no problem';
  return `${said}.${aside} Exit code ${code}.`;
}

type Explained = Awaited<ReturnType<typeof explainUser>>;

const SHOWN_MODELS = 20;

function factsOn({ record, joining }: Explained): readonly Fact[] {
  const memberships = joining === undefined ? record.memberships : [joining];
  const facts: Fact[] = [['user', describeUser(record.user)]];
  for (const membership of memberships) {
    const models = membership.counts ? membership.models : [];
    const shown = models.slice(0, SHOWN_MODELS);
    const more = models.length - shown.length;
    facts.push(...membershipRows([membership], joining));
    for (const { pattern, active } of shown) facts.push([active ? '  model' : '  model, off', pattern]);
    if (more > 0) facts.push(['  models', `and ${counted(more, 'model')} more`]);
  }
  if (memberships.length === 0) facts.push(...membershipRows([], undefined));
  return [...facts, ...notEnforced(record.not_enforced)];
}
