/** `modelgate bench-queries`: the deployment guide's query monitor, and the same for what the gate asks. */
import { availableParallelism, loadavg } from 'node:os';
import { type BenchReport, benchQueries } from '../../diagnosis/query-bench.ts';
import { databaseCommand, toCount } from '../options.ts';
import { counted, printable, tableOf, whole } from '../report.ts';
import { createProgress } from '../prompt.ts';
import { type Terminal, emphasize } from '../terminal.ts';

export const addBenchQueries = databaseCommand(
  'bench-queries',
  `time the queries of a decision: pass if the p95 of each is below 1 ms
In place of the guide's monitor_performance.py: its three queries word for word, the statements that the gate prepares, and a whole decision that nothing is cached for. Asks for real users in turn, where the guide asks for one that is not there, and sets no journal mode.
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
      onProgress: (done, total) => progress.at('timing queries', done, total),
    });
    const { iterations, users, organization } = record;
    const asked = users === 1 ? 'one user' : `${counted(users, 'user')} in turn`;
    const about = `${counted(iterations, 'run')} each, asking for ${asked} (the guide asks for one that is not there) and for the models of ${printable(organization)}.`;
    return { record, parts: [timesOf(record), about, verdictOn(terminal, record)], failed: !record.pass };
  },
);

const FIGURES = ['min', 'median', 'avg', 'p95', 'p99', 'max'] as const;

type Query = BenchReport['queries'][number];

const timesOf = ({ queries }: BenchReport) =>
  tableOf(queries, {
    query: 'name',
    from: ({ from }) => (from === 'decision' ? 'gate, uncached' : from),
    ...Object.fromEntries(
      FIGURES.map((figure) => [`${figure} ms`, ({ times_ms: times }: Query) => times?.[figure].toFixed(3)]),
    ),
    'p95 < 1 ms': ({ times_ms: times, pass }) => (times === null ? 'cannot run' : pass ? 'pass' : 'fail'),
  });

function verdictOn(terminal: Terminal, { queries, pass }: BenchReport): string {
  if (pass) return emphasize(terminal, 'green', 'Pass: the p95 of every query is below 1 ms.');
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
