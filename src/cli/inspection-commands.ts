/** The commands that look and change nothing. */
import { Option } from 'commander';
import type { DoctorOptions } from './commands/doctor.ts';
import type { AuditOptions } from './commands/audit.ts';
import type { BenchQueriesOptions } from './commands/bench-queries.ts';
import type { ExplainDecisionOptions } from './commands/explain-decision.ts';
import type { ExplainOptions } from './commands/explain.ts';
import type { ReportOptions } from './commands/report.ts';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT } from './terminal.ts';
import type { CommandLine } from './options.ts';
import { onDatabase, toCount, toOrigin } from './options.ts';

/** Adds `explain`, `report`, `audit`, `doctor`, `bench-queries`. */
export function addInspectionCommands(parts: CommandLine): void {
  addExplain(parts);
  addReport(parts);
  addAudit(parts);
  addDoctor(parts);
  addBenchQueries(parts);
}

function addExplain({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('explain')
    .description(
      `say why a decision was made, whether a user may use a model, or what a user may use

With a decision id, as refusals show it: asks the running gate, which keeps its last 10,000 decisions, at MODELGATE_ADMIN_HOST and MODELGATE_ADMIN_PORT or --admin-url. Each gate knows its own.

With --user, in place of the guide's "Users Can't See Models": memberships (those too that do not count), the models of each organization, the role, the base of a preset, bypass settings, and one sentence. Asks the very code of the gate. Without --model: everything that the user may use, with what gives it.`,
    )
    .summary('say why a decision was made, whether a user may use a model, or what a user may use')
    .argument('[decision]', 'id of a decision, such as d-gp4gqhkxqn')
    .option('--user <id>', 'id or e-mail address of the user')
    .option('--model <id>', 'id of the model, exactly as the backend spells it')
    .option('--exit-code', 'with --model: end with 1 where the decision is a denial')
    .addOption(
      new Option('--admin-url <url>', 'where the gate answers operators, such as http://127.0.0.1:9464').argParser(
        toOrigin,
      ),
    );
  onDatabase(
    command,
    'modelgate explain d-gp4gqhkxqn',
    'modelgate explain --user alice@example.com --database data/webui.db',
    'modelgate explain --user alice@example.com --model openai/gpt-4o --database data/webui.db',
  ).action(async (decision: string | undefined, options: ExplainWords) => {
    exitWith(await explainAny(decision, options, terminal));
  });
}

type ExplainWords = ExplainDecisionOptions & Partial<Pick<ExplainOptions, 'user' | 'model'>>;

async function explainAny(decision: string | undefined, options: ExplainWords, terminal: Terminal): Promise<number> {
  const { user, model, adminUrl } = options;
  if (decision !== undefined) {
    if (user !== undefined || model !== undefined) {
      throw new CommandFailure('A decision id, or --user: not both.', EXIT.misused);
    }
    const { explainDecision } = await import('./commands/explain-decision.ts');
    return explainDecision(decision, options, terminal);
  }
  if (adminUrl !== undefined)
    throw new CommandFailure('--admin-url means nothing without a decision id.', EXIT.misused);
  if (user === undefined) {
    throw new CommandFailure('Explain what? Name a decision id, or a user with --user.', EXIT.misused);
  }
  if (model === undefined) {
    const { explainAccess } = await import('./commands/explain-user.ts');
    return explainAccess({ ...options, user }, terminal);
  }
  const { explain } = await import('./commands/explain.ts');
  return explain({ ...options, user, model }, terminal);
}

function addReport({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('report')
    .description('list who may use which models (table, CSV or JSON)')
    .option('--org <id>', 'only this organization')
    .option(
      '--csv',
      'print CSV: UTF-8, RFC 4180; cells that a spreadsheet would run as formulas begin with an apostrophe',
    )
    .addHelpText(
      'after',
      `
The rows of the deployment guide's view, whether it is there or not: for each user and organization, with an active membership, the number and names of the models that the organization has switched on. As in the guide's view only models with a row in the backend's model table are counted: prefix grants (openai/*) and models that nobody has edited in the backend have none. How many grants that leaves out is said at the end. Neither does the view look at the backend's role of a user, or at client_organizations: does_not_count, the last column, says where the gate gives a row nothing. Table and CSV have the titles of the view; JSON has the names that the other commands use, too. \`modelgate model list\` shows every grant, \`modelgate explain\` what one user may do.`,
    );
  onDatabase(
    command,
    'modelgate report --csv --database data/webui.db > report.csv',
    'modelgate report --org mai_client_acme --json | jq ".rows[].email"',
  ).action(async (options: ReportOptions) => {
    const { report } = await import('./commands/report.ts');
    exitWith(await report(options, terminal));
  });
}

function addAudit({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('audit')
    .description('count the users and models of each organization, and list the admins of the backend')
    .option('--csv', 'print CSV, one table after the other with an empty line between; --only for one alone')
    .addOption(
      new Option('--only <table>', 'one table instead of all').choices([
        'organizations',
        'admins',
        'outside',
      ] satisfies AuditOptions['only'][]),
    )
    .addHelpText(
      'after',
      `
The rows of the deployment guide's audit_access.sh. As there, model_count has grants that are switched off in it, and an admin is listed for each membership, switched off or not, and user_count has users who are pending, banned or deleted; active_model_count, counting_user_count and is_member say what counts; JSON has the names that the other commands use, too. Admins in no organization, whom the guide's statement leaves out, are a third table.`,
    );
  onDatabase(
    command,
    'modelgate audit --database data/webui.db',
    'modelgate audit --only admins --csv > admins.csv',
  ).action(async (options: AuditOptions) => {
    const { audit } = await import('./commands/audit.ts');
    exitWith(await audit(options, terminal));
  });
}

function addDoctor({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('doctor')
    .description(
      `look for what usually is wrong, and say what to do; nothing is changed

In place of the guide's troubleshooting: settings (bypass, report mode, key), the backend (reachable, clock, same key), the file (permissions, folder, backups), tables and triggers, release, admins, what is in the way of an upgrade, index use and statistics, foreign rows, journal mode and who sets it, write-ahead log, a trial of the locks, integrity.

Run it with the environment of the gate. Exit code 1 where there is a problem; warnings alone are 0.`,
    )
    .summary('look for what usually is wrong, and say what to do; nothing is changed')
    .option('--user <id>', 'also look why this user sees no models; id or e-mail address')
    .option('--quick', 'leave out what reads the whole file (integrity check)')
    .option('--all', 'also print what every check that passed has found');
  onDatabase(command, 'modelgate doctor --database data/webui.db', 'modelgate doctor --user alice@example.com').action(
    async (options: DoctorOptions) => {
      const { doctor } = await import('./commands/doctor.ts');
      exitWith(await doctor(options, terminal));
    },
  );
}

function addBenchQueries({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('bench-queries')
    .description(
      `time the queries of a decision: pass if 95 of 100 take less than 1 ms

In place of the guide's monitor_performance.py: its three queries word for word, the statements that the gate prepares, and a whole decision that nothing is cached for. Asks for real users in turn, where the guide asks for one that is not there, and sets no journal mode.`,
    )
    .summary('time the queries of a decision: pass if 95 of 100 take less than 1 ms')
    .option('--iterations <count>', 'how often each query runs', toCount(20, 1_000_000), 100)
    .option('--org <id>', 'organization that is asked for (default: the one with the most models)')
    .option('--user <id>', 'user that is asked for; id or e-mail address (default: many of them in turn)');
  onDatabase(command, 'modelgate bench-queries --iterations 1000 --database data/webui.db').action(
    async (options: BenchQueriesOptions) => {
      const { benchQueries } = await import('./commands/bench-queries.ts');
      exitWith(await benchQueries(options, terminal));
    },
  );
}
