/** `modelgate bench-queries`: the deployment guide's query monitor, and the same for what the gate asks. */
import { availableParallelism, loadavg } from 'node:os';
import type { BenchResult, Distribution, MeasuredQuery } from '../../diagnosis/query-bench.ts';
import { benchQueries as measureQueries } from '../../diagnosis/query-bench.ts';
import { configureOperation } from '../configured.ts';
import type { DatabaseOptions } from '../options.ts';
import { asJson, asTable, counted, emphasize, printable } from '../output.ts';
import { createProgress } from '../progress.ts';
import type { Terminal } from '../terminal.ts';
import { EXIT, tell } from '../terminal.ts';

export interface BenchQueriesOptions extends DatabaseOptions {
  readonly iterations: number;
  readonly org?: string;
  readonly user?: string;
}

/** What `--json` prints; times in milliseconds, absent things null. */
export interface BenchReport {
  readonly iterations: number;
  readonly users: number;
  readonly organization: string;
  readonly limit_p95_ms: number;
  readonly pass: boolean;
  readonly queries: readonly {
    readonly name: string;
    readonly from: MeasuredQuery['from'];
    readonly pass: boolean;
    readonly times_ms: Distribution | null;
    readonly problem: string | null;
  }[];
}

/** The guide: "All queries performing well (P95 < 1ms)". */
const LIMIT_MS = 1;

/** @returns 1 where one of them is too slow, or cannot run @throws OperationFailure where the file cannot be read */
export async function benchQueries(options: BenchQueriesOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const progress = createProgress(terminal, 'timing', 'query', 'queries');
  const result = await measureQueries({
    operation,
    chosen: { user: options.user, organization: options.org },
    iterations: options.iterations,
    policy: config.policy,
    onProgress: progress.at,
  }).finally(() => progress.end());
  const report = toReport(result, options.iterations);
  if (options.json === true) terminal.write(asJson(report));
  else tell(terminal, describe(terminal, report));
  return report.pass ? EXIT.done : EXIT.failed;
}

function toReport({ subjects, queries }: BenchResult, iterations: number): BenchReport {
  const judged = queries.map(({ name, from, times, problem }) => ({
    name,
    from,
    pass: times !== undefined && times.p95 < LIMIT_MS,
    times_ms: times === undefined ? null : rounded(times),
    problem: problem ?? null,
  }));
  return {
    iterations,
    users: subjects.users.length,
    organization: subjects.organizations[0] ?? '',
    limit_p95_ms: LIMIT_MS,
    pass: judged.every(({ pass }) => pass),
    queries: judged,
  };
}

/** To a microsecond: what is behind it differs from run to run. */
const rounded = (times: Distribution): Distribution => ({
  ...times,
  ...Object.fromEntries(FIGURES.map((figure) => [figure, Number(times[figure].toFixed(3))])),
});

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
    ? emphasize(terminal, 'green', 'Pass: 95 of 100 runs of every query take less than 1 ms.')
    : emphasize(terminal, 'red', slow.length > 0 ? `Fail: ${slow.join(', ')}.` : 'Fail.') +
      (slow.length > 0 ? ' To look for the reason: `modelgate doctor`' : '');
  const about = `${counted(iterations, 'run')} each, asking for ${users === 1 ? 'one user' : `${counted(users, 'user')} in turn`} (the guide asks for one that is not there) and for the models of ${printable(organization)}.`;
  const [load = 0] = loadavg();
  const isBusy = slow.length > 0 && load > availableParallelism();
  const busy = isBusy ? `This machine is busy (load ${load.toFixed(1)}): measure again when it is not.\n` : '';
  return `${asTable(terminal, columns, rows)}\n${about}\n${problems.join('')}${verdict}\n${busy}`;
}
