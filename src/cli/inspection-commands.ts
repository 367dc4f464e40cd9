/** The commands that look and change nothing. */
import type { AuditOptions } from './audit.ts';
import type { BenchQueriesOptions } from './bench-queries.ts';
import type { DoctorOptions } from './doctor.ts';
import type { ExplainOptions } from './explain.ts';
import type { ReportOptions } from './report.ts';
import { onDatabase, toCount } from './words.ts';
import type { CommandLine } from './words.ts';

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
    .description('say whether a user may use a model, and why')
    .requiredOption('--user <id>', 'id or e-mail address of the user')
    .requiredOption('--model <id>', 'id of the model, exactly as the backend spells it');
  onDatabase(
    command,
    'modelgate explain --user alice@example.com --model openai/gpt-4o --database data/webui.db',
  ).action(async (options: ExplainOptions) => {
    const { explain } = await import('./explain.ts');
    exitWith(explain(options, terminal));
  });
}

function addReport({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('report')
    .description('which user has which models, as the view user_model_access_report says it')
    .option('--org <id>', 'only this organization')
    .option('--csv', 'print CSV');
  onDatabase(command, 'modelgate report --csv --database data/webui.db > report.csv').action(
    async (options: ReportOptions) => {
      const { report } = await import('./report.ts');
      exitWith(await report(options, terminal));
    },
  );
}

function addAudit({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('audit')
    .description('active users and models of each organization, and the admins of the backend')
    .option('--csv', 'print CSV, one table after the other');
  onDatabase(command, 'modelgate audit --database data/webui.db').action(async (options: AuditOptions) => {
    const { audit } = await import('./audit.ts');
    exitWith(await audit(options, terminal));
  });
}

function addDoctor({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('doctor')
    .description('look for what usually is wrong: settings, tables, indexes, locks, permissions, backend')
    .option('--user <id>', 'also look why this user sees no models; id or e-mail address')
    .option('--quick', 'leave out what reads the whole file (integrity check)');
  onDatabase(command, 'modelgate doctor --database data/webui.db', 'modelgate doctor --user alice@example.com').action(
    async (options: DoctorOptions) => {
      const { doctor } = await import('./doctor.ts');
      exitWith(await doctor(options, terminal));
    },
  );
}

function addBenchQueries({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('bench-queries')
    .description('time the queries of a decision: pass if 95 of 100 take less than 1 ms')
    .option('--iterations <count>', 'how often each query runs', toCount(20, 1_000_000), 100)
    .option('--org <id>', 'organization that is asked for (default: the one with the most models)')
    .option('--user <id>', 'user that is asked for; id or e-mail address (default: many of them in turn)');
  onDatabase(command, 'modelgate bench-queries --iterations 1000 --database data/webui.db').action(
    async (options: BenchQueriesOptions) => {
      const { benchQueries } = await import('./bench-queries.ts');
      exitWith(await benchQueries(options, terminal));
    },
  );
}
