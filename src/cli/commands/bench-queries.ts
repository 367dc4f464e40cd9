/** `modelgate bench-queries`: the deployment guide's query monitor, and the same for what the gate asks. */
import type { Command } from '@commander-js/extra-typings';
import { availableParallelism, loadavg } from 'node:os';
import { type BenchReport, benchQueries as measureQueries } from '../../diagnosis/query-bench.ts';
import { configureOperation } from '../configured.ts';
import { type CommandLine, type OptionsOf, onDatabase, toCount } from '../options.ts';
import { counted, printable } from '../format.ts';
import { asJson, asTable, emphasize } from '../report.ts';
import { createProgress } from '../progress.ts';
import { type Terminal, EXIT, tell } from '../terminal.ts';

/** Adds `bench-queries`. */
export function addBenchQueries({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (options) => exitWith(await benchQueries(options, terminal)));
}

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

type BenchQueriesOptions = OptionsOf<typeof declare>;

/** @returns 1 where one of them is too slow, or cannot run @throws OperationFailure where the file cannot be read */
async function benchQueries(options: BenchQueriesOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const progress = createProgress(terminal, 'timing', 'query', 'queries');
  const report = await measureQueries({
    operation,
    chosen: { user: options.user, organization: options.org },
    iterations: options.iterations,
    policy: config.policy,
    onProgress: progress.at,
  }).finally(() => progress.end());
  if (options.json === true) terminal.write(asJson(report));
  else tell(terminal, describe(terminal, report));
  return report.pass ? EXIT.done : EXIT.failed;
}

const FIGURES = ['min', 'median', 'avg', 'p95', 'p99', 'max'] as const;

function describe(terminal: Terminal, { iterations, users, organization, queries, pass }: BenchReport): string {
  const columns = [
    'query',
    'from',
    ...FIGURES.map((title) => ({ title: `${title} ms`, align: 'right' as const })),
    'p95 < 1 ms',
  ];
  const rows = queries.map(({ name, from, times_ms: times, pass: passed }) => [
    ...[name, from === 'decision' ? 'gate, uncached' : from],
    ...FIGURES.map((figure) => (times === null ? '-' : times[figure].toFixed(3))),
    times === null ? 'cannot run' : passed ? 'pass' : 'fail',
  ]);
  const problems = queries.flatMap(({ name, problem }) =>
    problem === null ? [] : [`${name} cannot run: ${printable(problem, false)}.\n`],
  );
  const slow = queries.filter(({ times_ms: times, pass: passed }) => times !== null && !passed).map(({ name }) => name);
  const verdict = pass
    ? emphasize(terminal, 'green', 'Pass: the p95 of every query is below 1 ms.')
    : emphasize(terminal, 'red', slow.length > 0 ? `Fail: ${slow.join(', ')}.` : 'Fail.') +
      (slow.length > 0 ? ' To look for the reason: `modelgate doctor`' : '');
  const about = `${counted(iterations, 'run')} each, asking for ${users === 1 ? 'one user' : `${counted(users, 'user')} in turn`} (the guide asks for one that is not there) and for the models of ${printable(organization)}.`;
  const [load = 0] = loadavg();
  const isBusy = slow.length > 0 && load > availableParallelism();
  const busy = isBusy ? `This machine is busy (load ${load.toFixed(1)}): measure again when it is not.\n` : '';
  return `${asTable(terminal, columns, rows)}\n${about}\n${problems.join('')}${verdict}\n${busy}`;
}
