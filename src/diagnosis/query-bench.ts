/** How long the queries of a decision take: the deployment guide's three, and those of the gate, one by one and together. */
import { requirePerson } from '../backend-file/backend.ts';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { quoted } from '../backend-file/text.ts';
import { type Operation, hearStop, reading } from '../backend-file/transaction.ts';
import { toUserId } from '../policy/principal.ts';
import { type DecideOptions, decide } from '../policy/decide.ts';
import { parseModelId } from '../policy/grant.ts';
import { CachedView } from '../store/store-view.ts';
import { type Connection, failureCode, noteCompanions, openForReading, prepareColumn } from '../store/database.ts';
import { Freshness } from '../store/freshness.ts';
import { gateQueries } from '../store/queries.ts';
import { readSchema } from '../store/schema.ts';
import {
  type Query,
  type Run,
  BUSY_MS,
  GUIDE_QUERIES,
  connectToMeasure,
  inTurn,
  runsOnPostgres,
} from './measured-queries.ts';

/** As the deployment guide's Python computes it. @param values at least two @throws RangeError for fewer */
function distributionOf(values: readonly number[]) {
  if (values.length < 2) throw new RangeError('at least two values');
  const sorted = Float64Array.from(values).sort();
  const at = (place: number): number => sorted[place] ?? 0;
  // `statistics.quantiles` of Python 3.8 and later, by the exclusive method
  const cut = (part: number, parts: number): number => {
    const scaled = part * (sorted.length + 1);
    const place = Math.min(Math.max(Math.floor(scaled / parts), 1), sorted.length - 1);
    const rest = scaled - place * parts;
    return (at(place - 1) * (parts - rest) + at(place) * rest) / parts;
  };
  const [median, p95, p99] = [cut(1, 2), cut(19, 20), cut(99, 100)];
  const avg = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { min: at(0), median, avg, p95, p99, max: at(sorted.length - 1) };
}

interface QueryBench {
  readonly operation: Operation;
  /** Id or e-mail address, and id; undefined: many users in turn, and the largest organization. */
  readonly chosen: Readonly<Record<'user' | 'organization', string | undefined>>;
  readonly iterations: number;
  readonly policy: DecideOptions;
  readonly onProgress: (done: number, total: number) => void;
}

export type BenchReport = Awaited<ReturnType<typeof benchQueries>>;

/** The guide: "All queries performing well (P95 < 1ms)"; over a network a round trip is most of it. */
const LIMITS_MS = { sqlite: 1, postgresql: 2 };

/** @throws OperationFailure as `reading`, and where there is no user or organization to ask for */
export async function benchQueries({ operation, chosen, iterations, policy, onProgress }: QueryBench) {
  const { path, postgres, patience } = operation;
  try {
    await using opened = new AsyncDisposableStack();
    if (postgres === undefined) opened.defer(noteCompanions(path));
    const [subjects, schema] = await reading(
      operation,
      'organizations',
      (connection, found) => [readSubjects(connection, chosen), found] as const,
    );
    const limitMs = LIMITS_MS[postgres === undefined ? 'sqlite' : 'postgresql'];
    const runs =
      postgres === undefined
        ? runsOf(opened.use(openBoth(path)), subjects, policy)
        : runsOnPostgres(
            opened.adopt(await connectToMeasure(postgres), (one) => one.close()),
            postgres,
            schema,
            subjects,
          );
    const queries = [];
    for (const [at, run] of runs.entries()) {
      onProgress(at, runs.length);
      queries.push(await measure(run, iterations, limitMs, patience.signal));
    }
    return {
      iterations,
      users: subjects.user.length,
      organization: subjects.organization[0] ?? '',
      limit_p95_ms: limitMs,
      pass: queries.every(({ pass }) => pass),
      queries,
    };
  } catch (error) {
    throw toFailure(error, path);
  }
}

const now = (): number => performance.now();

const MOST = 1_000;

/** What the queries ask for, in turn: one row that is always the same is always near. */
function readSubjects(connection: Connection, { user, organization }: QueryBench['chosen']) {
  const all = (sql: string | undefined, ...values: string[]): readonly string[] =>
    prepareColumn(connection, sql)(...values).filter((value) => typeof value === 'string');
  const orElse = (values: readonly string[], standIn: string) => (values.length > 0 ? values : [standIn]);
  const users = user === undefined ? all(MEMBERS_SPREAD) : [requirePerson(connection, user).id];
  if (users.length === 0) {
    const remedy = 'Add one first: `modelgate member add USER --org ORGANIZATION`';
    throw unchanged('No user is a member of any organization, so there is no user to ask for.', remedy);
  }
  const organizations = all(LARGEST, organization ?? '');
  if (organization !== undefined && organizations.length === 0) {
    const finding = `No model belongs to an organization ${quoted(organization)}.`;
    throw unchanged(finding, 'To see those that there are: `modelgate org list`', { code: 'no_such_organization' });
  }
  return {
    user: users,
    organization: orElse(organizations, 'no organization'),
    model: orElse(all(`SELECT DISTINCT model_id FROM organization_models LIMIT ${MOST}`), 'no model'),
    /** Never to be shown. */
    api_key: orElse(all(API_KEYS[readSchema(connection).apiKeys]), 'sk-00000000000000000000000000000000'),
    subject: ['organization_members', 'organization_models'],
  };
}

/** Spread over the whole table: neighbours share a page. */
const MEMBERS_SPREAD = `
  SELECT user_id FROM (SELECT user_id, row_number() OVER () AS place, count(*) OVER () AS total FROM organization_members) spread
  WHERE total <= ${MOST} OR (place * ${MOST}) / total != ((place - 1) * ${MOST}) / total LIMIT ${MOST}`;

/** The largest of all for an empty id. */
const LARGEST = `
  SELECT organization_id FROM organization_models WHERE ? IN ('', organization_id)
  GROUP BY organization_id ORDER BY count(*) DESC, organization_id LIMIT 1`;

const API_KEYS = {
  table: `SELECT "key" FROM api_key LIMIT ${MOST}`,
  column: `SELECT api_key FROM "user" WHERE api_key IS NOT NULL LIMIT ${MOST}`,
  none: undefined,
};

/** Statements that SQLite has not seen yet are slower once: the first turns are not counted. */
const WARM_UP = 5;
/** After so many Ctrl-C is heard: a query that reads a whole table takes some milliseconds each time. */
const HEAR_EVERY = 20;

async function measure({ name, from, prepare }: Run, iterations: number, limitMs: number, signal: AbortSignal) {
  const times: number[] = [];
  try {
    const ready = prepare();
    for (let turn = 0; turn < WARM_UP; turn++) await ready(turn)();
    for (let turn = 0; turn < iterations; turn++) {
      if (turn % HEAR_EVERY === 0) await hearStop(signal);
      const once = ready(turn);
      const start = performance.now();
      const asked = once();
      // what SQLite answers is there already
      if (asked instanceof Promise) await asked;
      times.push(performance.now() - start);
    }
    const found = rounded(distributionOf(times));
    return { name, from, pass: found.p95 < limitMs, times_ms: found, problem: null };
  } catch (error) {
    if (!/^(?:SQLITE_ERROR$|42)/.test(failureCode(error))) throw error;
    const words = error instanceof Error ? error.message : '';
    return { name, from, pass: false, times_ms: null, problem: `${words}: run \`modelgate init\`` };
  }
}

/** To a microsecond: what is behind it differs from run to run. */
const rounded = <T extends ReturnType<typeof distributionOf>>(found: T): T =>
  Object.fromEntries(Object.entries(found).map(([figure, ms]) => [figure, Number(ms.toFixed(3))])) as T;

const openBoth = (path: string) => {
  const [connection, freshness] = [openForReading(path, BUSY_MS), new Freshness({ path, busyTimeoutMs: BUSY_MS, now })];
  const close = (): void => {
    freshness.close();
    connection.close();
  };
  return { connection, freshness, [Symbol.dispose]: close };
};

/** @returns each with a function that prepares it; what that returns makes a turn ready before the clock runs, and returns what is timed */
function runsOf(
  { connection, freshness }: ReturnType<typeof openBoth>,
  subjects: ReturnType<typeof readSubjects>,
  policy: DecideOptions,
): readonly Run[] {
  const ofQueries = <F extends string>(from: F, queries: readonly Query[]) =>
    queries.map(({ name, sql, asks }) => ({
      name,
      from,
      prepare: () => {
        const statement = connection.prepare<[string], unknown[]>(sql).raw();
        return (turn: number) => {
          const value = inTurn(subjects[asks], turn) ?? '';
          return (): unknown => statement.all(value);
        };
      },
    }));
  freshness.look();
  const models = subjects.model.map(parseModelId).filter((id) => id !== undefined);
  // as a request decides: a look at the file, and a view in which nothing is kept yet
  const decideIn = (turn: number) => {
    const view = new CachedView(freshness, { maxStaleMs: BUSY_MS, now });
    const id = toUserId(inTurn(subjects.user, turn) ?? '');
    const model = inTurn(models, turn) ?? parseModelId('a model without a grant');
    return () => {
      freshness.look();
      const user = view.user(id);
      return user === undefined || model === undefined ? undefined : decide(view, user, model, policy);
    };
  };
  return [
    ...ofQueries('guide', GUIDE_QUERIES),
    ...ofQueries('gate', gateQueries(readSchema(connection))),
    { name: 'whole decision', from: 'decision' as const, prepare: () => decideIn },
  ];
}
