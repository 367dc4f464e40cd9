/**
 * How long the queries of a decision take: the deployment guide's three, and the statements that the gate prepares, one
 * by one and together. Sets no journal mode, as the guide's script does: the backend owns that choice.
 */
import { toFailure } from '../backend-file/failure.ts';
import { type Operation, hearStop, reading } from '../backend-file/transaction.ts';
import { toUserId } from '../identity/principal.ts';
import { type DecideOptions, decide } from '../policy/decide.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { CachedView } from '../store/cached-view.ts';
import { failureCode, noteCompanions, openForReading, type Connection } from '../store/database.ts';
import { Freshness } from '../store/freshness.ts';
import { gateQueries } from '../store/queries.ts';
import { readSchema } from '../store/schema.ts';
import { type BenchSubjects, type Chosen, readSubjects } from './bench-subjects.ts';
import { GUIDE_QUERIES } from './queries.ts';

export type Distribution = ReturnType<typeof distributionOf>;

/** As the deployment guide's Python computes it. @param values at least two @throws RangeError for fewer */
export function distributionOf(values: readonly number[]) {
  const sorted = Float64Array.from(values).sort();
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined || sorted.length < 2) throw new RangeError('at least two values');
  return {
    min,
    median: quantile(sorted, 1, 2),
    avg: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p95: quantile(sorted, 19, 20),
    p99: quantile(sorted, 99, 100),
    max,
  };
}

/**
 * Cut point `part` of `parts`, by the exclusive method: the values are taken for a sample of something larger, so that a
 * high percentile of few values lies above all of them.
 * Source: `statistics.quantiles` of Python 3.8 and later.
 */
function quantile(sorted: Float64Array, part: number, parts: number): number {
  const scaled = part * (sorted.length + 1);
  const place = Math.min(Math.max(Math.floor(scaled / parts), 1), sorted.length - 1);
  const rest = scaled - place * parts;
  // `place` is within 1 and length - 1
  const [below = 0, above = 0] = [sorted[place - 1], sorted[place]];
  return (below * (parts - rest) + above * rest) / parts;
}

interface QueryBench {
  readonly operation: Operation;
  readonly chosen: Chosen;
  /** How often each query runs. */
  readonly iterations: number;
  readonly policy: DecideOptions;
  readonly onProgress: (done: number, total: number) => void;
}

/** The record of one query. */
interface MeasuredQuery {
  readonly name: string;
  /** Whose it is; `decision` is a whole one, through the store, that nothing was cached for. */
  readonly from: 'guide' | 'gate' | 'decision';
  readonly pass: boolean;
  /** Milliseconds; null where it could not run. */
  readonly times_ms: Distribution | null;
  /** Why it could not run, and what to do. */
  readonly problem: string | null;
}

export type BenchReport = Awaited<ReturnType<typeof benchQueries>>;

/** The guide: "All queries performing well (P95 < 1ms)". */
const LIMIT_MS = 1;

/** Long enough for any commit of the backend; the wait is part of what is measured. */
const BUSY_MS = 5_000;

/** @throws OperationFailure as `reading`, and where there is no user or organization to ask for */
export async function benchQueries({ operation, chosen, iterations, policy, onProgress }: QueryBench) {
  const { path, patience } = operation;
  const tidyUp = noteCompanions(path);
  try {
    const subjects = await reading(operation, 'organizations', (connection) => readSubjects(connection, chosen));
    const connection = openForReading(path, BUSY_MS);
    const decision = openDecision(path, subjects, policy);
    try {
      const runs = [...queryRuns(connection, subjects), decision.run];
      const queries: MeasuredQuery[] = [];
      for (const [at, run] of runs.entries()) {
        onProgress(at, runs.length);
        queries.push(await measure(run, iterations, patience.signal));
      }
      return {
        iterations,
        users: subjects.users.length,
        organization: subjects.organizations[0] ?? '',
        limit_p95_ms: LIMIT_MS,
        pass: queries.every(({ pass }) => pass),
        queries,
      };
    } finally {
      decision.close();
      connection.close();
    }
  } catch (error) {
    throw toFailure(error, path);
  } finally {
    tidyUp();
  }
}

interface Run {
  readonly name: string;
  readonly from: MeasuredQuery['from'];
  /** @returns a function that, before the clock runs, makes ready what one turn then measures */
  prepare(): (turn: number) => () => unknown;
}

/** Statements that SQLite has not seen yet are slower once: the first turns are not counted. */
const WARM_UP = 5;
/** After so long Ctrl-C is heard: a query that reads a whole table takes some milliseconds each time. */
const HEAR_EVERY_MS = 50;

async function measure({ name, from, prepare }: Run, iterations: number, signal: AbortSignal): Promise<MeasuredQuery> {
  const times: number[] = [];
  try {
    const ready = prepare();
    for (let turn = 0; turn < WARM_UP; turn++) ready(turn)();
    let heardAt = Number.NEGATIVE_INFINITY;
    for (let turn = 0; turn < iterations; turn++) {
      if (performance.now() - heardAt > HEAR_EVERY_MS) {
        await hearStop(signal);
        heardAt = performance.now();
      }
      const once = ready(turn);
      const start = performance.now();
      once();
      times.push(performance.now() - start);
    }
    const found = distributionOf(times);
    return { name, from, pass: found.p95 < LIMIT_MS, times_ms: rounded(found), problem: null };
  } catch (error) {
    // a view that is missing or has another shape
    if (failureCode(error) !== 'SQLITE_ERROR') throw error;
    const words = error instanceof Error ? error.message : '';
    return { name, from, pass: false, times_ms: null, problem: `${words}: run \`modelgate init\`` };
  }
}

/** To a microsecond: what is behind it differs from run to run. */
const rounded = ({ min, median, avg, p95, p99, max }: Distribution): Distribution => ({
  ...{ min: toMicrosecond(min), median: toMicrosecond(median), avg: toMicrosecond(avg) },
  ...{ p95: toMicrosecond(p95), p99: toMicrosecond(p99), max: toMicrosecond(max) },
});

const toMicrosecond = (milliseconds: number): number => Number(milliseconds.toFixed(3));

function queryRuns(connection: Connection, subjects: BenchSubjects): readonly Run[] {
  const { users, organizations, models, apiKeys } = subjects;
  const asked = {
    user: users,
    organization: organizations,
    model: models,
    api_key: apiKeys,
    subject: ['organization_members', 'organization_models'],
  };
  const queries = [
    ...GUIDE_QUERIES.map((query) => ({ ...query, from: 'guide' as const })),
    ...gateQueries(readSchema(connection)).map((query) => ({ ...query, from: 'gate' as const })),
  ];
  return queries.map(({ name, sql, asks, from }) => ({
    name,
    from,
    prepare: () => {
      const statement = connection.prepare<[string], unknown[]>(sql).raw();
      const values = asked[asks];
      return (turn) => {
        const value = values[turn % values.length] ?? '';
        return () => statement.all(value);
      };
    },
  }));
}

/** As a request decides: a look at the file, and a view in which nothing is kept yet. */
function openDecision(path: string, { users, models }: BenchSubjects, policy: DecideOptions) {
  const now = (): number => performance.now();
  const freshness = new Freshness({ path, busyTimeoutMs: BUSY_MS, now });
  freshness.look();
  const ids = models.map((model) => parseModelId(model)).filter((model): model is ModelId => model !== undefined);
  const unknownModel = parseModelId('a model without a grant');
  const run: Run = {
    name: 'whole decision',
    from: 'decision',
    prepare: () => (turn) => {
      const view = new CachedView(freshness, { maxStaleMs: BUSY_MS, now });
      const id = toUserId(users[turn % users.length] ?? '');
      const model = ids[turn % ids.length] ?? unknownModel;
      freshness.expire();
      return () => {
        freshness.look();
        const user = view.user(id);
        return user === undefined || model === undefined ? undefined : decide(view, user, model, policy);
      };
    },
  };
  return { run, close: () => freshness.close() };
}
