/** `modelgate bench-queries`: the deployment guide's query monitor, and the same for what the gate asks. */
import type { Command } from '@commander-js/extra-typings';
import { availableParallelism, loadavg } from 'node:os';
import { type BenchReport, benchQueries as measureQueries } from '../../diagnosis/query-bench.ts';
import { type OptionsOf, commandOf, configureOperation, onDatabase, toCount } from '../options.ts';
import { type Table, counted, print, printable, emphasize } from '../report.ts';
import { createProgress } from '../prompt.ts';
import { type Terminal, EXIT } from '../terminal.ts';

const declare = (program: Command) =>
  onDatabase(
    program
      .command('bench-queries')
      .description(
        `time the queries of a decision: pass if the p95 of each is below 1 ms

In place of the guide's monitor_performance.py: its three queries word for word, the statements that the gate prepares, and a whole decision that nothing is cached for. Asks for real users in turn, where the guide asks for one that is not there, and sets no journal mode.`,
      )
      .summary('time the queries of a decision: pass if the p95 of each is below 1 ms')
      .option('--iterations <count>', 'how often each query runs', toCount(20, 1_000_000), 100)
      .option('--org <id>', 'organization that is asked for (default: the one with the most models)')
      .option('--user <id>', 'user that is asked for; id or e-mail address (default: many of them in turn)'),
    'modelgate bench-queries --iterations 1000 --database data/webui.db',
  );

export const addBenchQueries = commandOf(declare, benchQueries);
async function benchQueries(options: OptionsOf<typeof declare>, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const progress = createProgress(terminal, 'timing', 'query', 'queries');
  const record = await measureQueries({
    operation,
    chosen: { user: options.user, organization: options.org },
    iterations: options.iterations,
    policy: config.policy,
    onProgress: progress.at,
  }).finally(progress.end);
  const { iterations, users, organization } = record;
  const asked = users === 1 ? 'one user' : `${counted(users, 'user')} in turn`;
  const about = `${counted(iterations, 'run')} each, asking for ${asked} (the guide asks for one that is not there) and for the models of ${printable(organization)}.`;
  const parts = [timesOf(record), about, verdictOn(terminal, record)];
  return print(terminal, options, { record, parts, code: record.pass ? EXIT.done : EXIT.failed });
}

const FIGURES = ['min', 'median', 'avg', 'p95', 'p99', 'max'] as const;

const timesOf = ({ queries }: BenchReport): Table => ({
  columns: [
    ...['query', 'from'],
    ...FIGURES.map((figure) => ({ title: `${figure} ms`, align: 'right' as const })),
    'p95 < 1 ms',
  ],
  rows: queries.map(({ name, from, times_ms: times, pass }) => [
    ...[name, from === 'decision' ? 'gate, uncached' : from],
    ...FIGURES.map((figure) => times?.[figure].toFixed(3)),
    times === null ? 'cannot run' : pass ? 'pass' : 'fail',
  ]),
});

function verdictOn(terminal: Terminal, { queries, pass }: BenchReport): string {
  if (pass) return emphasize(terminal, 'green', 'Pass: the p95 of every query is below 1 ms.');
  const lines = queries.flatMap(({ name, problem }) =>
    problem === null ? [] : [`${name} cannot run: ${printable(problem, false)}.`],
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
