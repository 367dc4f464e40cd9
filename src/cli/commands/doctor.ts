/** `modelgate doctor` and `bench-queries`: what usually is wrong, why a user sees no models, how long queries take. Nothing is changed. */
import { availableParallelism, loadavg } from 'node:os';
import { OperationFailure } from '../../backend-file/failure.ts';
import { DATABASE_SETTINGS } from '../../config/database-settings.ts';
import { findingOf } from '../../config/issue.ts';
import { loadConfig, loadStoreConfig } from '../../config/load.ts';
import { diagnose } from '../../diagnosis/diagnosis.ts';
import type { Finding, Status } from '../../diagnosis/finding.ts';
import { type BenchReport, benchQueries } from '../../diagnosis/query-bench.ts';
import { weaknessesOf } from '../../gate/weaknesses.ts';
import { explainUser } from '../../organizations/explanation.ts';
import { configurationFailure } from '../configuration-failure.ts';
import { environmentWith } from '../database.ts';
import { amounts, counted, print, printable, tableOf, toErrorJson, whole } from '../report.ts';
import { type DatabaseOptions, contextOn, databaseCommand, lateCommand, toCount } from '../options.ts';
import { type Terminal, givenOf, inPlace, laidOut, emphasize, createProgress } from '../terminal.ts';
import { userFacts } from './explain.ts';

export const addDoctor = lateCommand(
  'doctor',
  `look for what usually is wrong, and say what to do; nothing is changed
In place of the guide's troubleshooting: settings (bypass, report mode, key), the backend (reachable, clock, same key), its connections (through the provider door), clocks of providers, Redis (version, role, memory policy, latency, clock, ended sessions), growth of the ledger, prices of models, the file (permissions, folder, backups), tables and triggers, release, admins, what is in the way of an upgrade, index use and statistics, foreign rows, journal mode and who sets it, write-ahead log, a trial of the locks, integrity. On PostgreSQL in place of the file: primary, version and pooler, tables, rights with the lines that give them, statistics, dead rows, sessions that hold others up, connections, standbys.

Run it with the environment of the gate. Exit code 1 where there is a problem; warnings alone are 0.
$ modelgate doctor --database data/webui.db
$ modelgate doctor --user alice@example.com`,
  (command) =>
    command
      .option('--user <id>', 'also look why this user sees no models; id or e-mail address')
      .option('--quick', 'leave out what reads the whole file (integrity check), and ask no provider')
      .option('--all', 'also print what every check that passed has found'),
  async (options, terminal) => {
    const { store, ...context } = readSettings(terminal, options);
    const { operation, policy } = contextOn(store, terminal, options);
    const found = await lookInto({ ...context, operation, quick: options.quick === true }, terminal);
    const { user: named } = options;
    const asked = named === undefined ? null : await ask(() => explainUser(operation, named, policy));
    const user = asked instanceof OperationFailure ? null : asked;
    const given = givenOf(terminal);
    const count = (status: Status): number => found.filter((finding) => finding.status === status).length;
    const counts = { problems: count('problem'), warnings: count('warning'), not_checked: count('unknown') };
    const report = {
      record: {
        database: operation.path,
        ...counts,
        checks: found.map(({ remedy, ...rest }) => ({ ...rest, remedy: remedy && inPlace(remedy, given) })),
        user: user && toReport(user.record, inPlace(user.record.advice, given)),
        ...(asked instanceof OperationFailure ? { error: toErrorJson(asked, given) } : {}),
      },
      parts: [
        describeFindings(terminal, found, options.all === true),
        ...(user === null ? [] : [userFacts(user, true), whole(user.record.advice)]),
        summary(counts),
      ],
      failed: counts.problems > 0,
    };
    if (!(asked instanceof OperationFailure)) return report;
    await print(terminal, options, report);
    throw asked;
  },
);

const toReport = ({ user, memberships, enrolment, settings, not_enforced }: Explained['record'], advice: string) => ({
  ...user,
  ...{ advice, memberships, enrolment, settings, not_enforced },
});

async function lookInto(context: Omit<Parameters<typeof diagnose>[0], 'walWanted' | 'onProgress'>, terminal: Terminal) {
  using steps = createProgress(terminal);
  const walWanted = toFlag(terminal.environment['DATABASE_ENABLE_SQLITE_WAL']);
  return await diagnose({ ...context, walWanted, onProgress: steps.at });
}

/** The configuration as far as it goes: no mistake in it may stop `doctor`. What only the gate needs may be missing. */
function readSettings(terminal: Terminal, { config: file, database }: DatabaseOptions) {
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
    const { provider: providerDoor, usage: ledger, redis, revocations } = config;
    const found = { absent, mistakes: [], weaknesses };
    return { store: config, settings: found, upstream, secretKeys, providerDoor, ledger, redis, revocations };
  }
  const names = Object.keys(environment).filter((name) => Object.hasOwn(DATABASE_SETTINGS, name));
  const alone = loadStoreConfig({
    environment: Object.fromEntries(names.map((name) => [name, environment[name]])),
    directory,
  });
  if (alone.issues !== undefined) throw configurationFailure(parsed.issues, { database });
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
    const line = `${mark(status)}  ${name.padEnd(NAME_WIDTH)}  ${whole(finding)}`;
    if (remedy === null) return line;
    const indented = laidOut(whole(remedy), givenOf(terminal)).replaceAll('\n', `\n${INDENT}`);
    return `${line}\n${INDENT}→ ${indented.trimStart()}`;
  };
  const { problem = [], warning = [], unknown = [], ok = [] } = Object.groupBy(findings, ({ status }) => status);
  const lines = [...problem, ...warning, ...unknown, ...(all ? ok : [])].map(describe);
  const names = [...new Set(ok.map(({ name }) => name))].join(', ');
  if (!all && ok.length > 0) lines.push(`${mark('ok')}  ${counted(ok.length, 'check')} passed: ${names}`);
  return lines.join('\n');
}

function summary({
  problems,
  warnings,
  not_checked: unchecked,
}: Record<'problems' | 'warnings' | 'not_checked', number>) {
  const said = amounts({ problem: problems, warning: warnings }, counted).join(' and ') || 'Nothing is wrong';
  const aside = unchecked > 0 ? ` ${counted(unchecked, 'thing')} could not be checked.` : '';
  return `${said}.${aside} Exit code ${problems > 0 ? '1: there is a problem' : '0: there is no problem'}.`;
}

type Explained = Awaited<ReturnType<typeof explainUser>>;

export const addBenchQueries = databaseCommand(
  'bench-queries',
  `time the queries of a decision: pass if the p95 of each is below 1 ms
In place of the guide's monitor_performance.py: its three queries word for word, the statements that the gate prepares, and a whole decision that nothing is cached for. Asks for real users in turn, where the guide asks for one that is not there, and sets no journal mode. On PostgreSQL the bar is 2 ms, and \`select 1\`, the floor, stands beside.
$ modelgate bench-queries --iterations 1000 --database data/webui.db`,
  (command) =>
    command
      .option('--iterations <count>', 'how often each query runs', toCount(20, 1_000_000), 100)
      .option('--org <id>', 'organization that is asked for (default: the one with the most models)')
      .option('--user <id>', 'user that is asked for; id or e-mail address (default: many of them in turn)'),
  async (options, { config, operation, terminal }) => {
    using progress = createProgress(terminal);
    const record = await benchQueries({
      operation,
      chosen: { user: options.user, organization: options.org },
      iterations: options.iterations,
      policy: config.policy,
      onProgress: (done, total) => progress.at('timing', done, total, 'queries'),
    });
    const { iterations, users, organization } = record;
    const asked = users === 1 ? 'one user' : `${counted(users, 'user')} in turn`;
    const about = `${counted(iterations, 'run')} each, asking for ${asked} (the guide asks for one that is not there) and for the models of ${printable(organization)}.`;
    return { record, parts: [timesOf(record), about, verdictOn(terminal, record)], failed: !record.pass };
  },
);

const FIGURES = ['min', 'median', 'avg', 'p95', 'p99', 'max'] as const;

type Query = BenchReport['queries'][number];

const timesOf = ({ queries, limit_p95_ms: limit }: BenchReport) =>
  tableOf(queries, {
    query: 'name',
    from: ({ from }) => (from === 'decision' ? 'gate, uncached' : from),
    ...Object.fromEntries(
      FIGURES.map((figure) => [`${figure} ms`, ({ times_ms: times }: Query) => times?.[figure].toFixed(3)]),
    ),
    [`p95 < ${limit} ms`]: ({ times_ms: times, pass }: Query) =>
      times === null ? 'cannot run' : pass ? 'pass' : 'fail',
  });

function verdictOn(terminal: Terminal, { queries, pass, limit_p95_ms: limit }: BenchReport): string {
  if (pass) return emphasize(terminal, 'green', `Pass: the p95 of every query is below ${limit} ms.`);
  const lines = queries.flatMap(({ name, problem }) =>
    problem === null ? [] : [`${name} cannot run: ${whole(problem)}.`],
  );
  const slow = queries.filter((query) => query.times_ms !== null && !query.pass).map(({ name }) => name);
  if (slow.length === 0) return [...lines, emphasize(terminal, 'red', 'Fail.')].join('\n');
  lines.push(`${emphasize(terminal, 'red', `Fail: ${slow.join(', ')}.`)} To look for the reason: \`modelgate doctor\``);
  const [load = 0] = loadavg();
  if (load > availableParallelism()) {
    lines.push(`This machine is busy (load ${load.toFixed(1)}): measure again when it is not.`);
  }
  return lines.join('\n');
}
