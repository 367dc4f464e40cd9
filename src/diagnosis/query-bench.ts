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

const ofGuide = (name: string, asks: 'user' | 'organization', column: string, table: string, condition: string) => ({
  name,
  asks,
  sql: `
            SELECT DISTINCT ${column} 
            FROM ${table} 
            WHERE ${condition}
        `,
});

/** The three queries that the deployment guide's monitor_performance.py times, word for word; `asks` is their parameter. */
export const GUIDE_QUERIES = [
  ofGuide('user_orgs', 'user', 'organization_id', 'organization_members', 'user_id = ? AND is_active = 1'),
  ofGuide('org_models', 'organization', 'model_id', 'organization_models', 'organization_id = ? AND is_active = 1'),
  ofGuide('user_models_view', 'user', 'model_id', 'user_available_models', 'user_id = ?'),
];

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

/** The guide: "All queries performing well (P95 < 1ms)". */
const LIMIT_MS = 1;
/** Long enough for any commit of the backend; the wait is part of what is measured. */
const BUSY_MS = 5_000;

/** @throws OperationFailure as `reading`, and where there is no user or organization to ask for */
export async function benchQueries({ operation, chosen, iterations, policy, onProgress }: QueryBench) {
  const { path, patience } = operation;
  try {
    using opened = new DisposableStack();
    opened.defer(noteCompanions(path));
    const subjects = await reading(operation, 'organizations', (connection) => readSubjects(connection, chosen));
    const connection = opened.adopt(openForReading(path, BUSY_MS), (one) => void one.close());
    const freshness = opened.adopt(new Freshness({ path, busyTimeoutMs: BUSY_MS, now }), (one) => one.close());
    const runs = runsOf(connection, freshness, subjects, policy);
    const queries = [];
    for (const [at, run] of runs.entries()) {
      onProgress(at, runs.length);
      queries.push(await measure(run, iterations, patience.signal));
    }
    return {
      iterations,
      users: subjects.user.length,
      organization: subjects.organization[0] ?? '',
      limit_p95_ms: LIMIT_MS,
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
  SELECT user_id FROM (SELECT user_id, row_number() OVER () AS place, count(*) OVER () AS total FROM organization_members)
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

async function measure(
  { name, from, prepare }: ReturnType<typeof runsOf>[number],
  iterations: number,
  signal: AbortSignal,
) {
  const times: number[] = [];
  try {
    const ready = prepare();
    for (let turn = 0; turn < WARM_UP; turn++) ready(turn)();
    for (let turn = 0; turn < iterations; turn++) {
      if (turn % HEAR_EVERY === 0) await hearStop(signal);
      const once = ready(turn);
      const start = performance.now();
      once();
      times.push(performance.now() - start);
    }
    const found = distributionOf(times);
    return { name, from, pass: found.p95 < LIMIT_MS, times_ms: rounded(found), problem: null };
  } catch (error) {
    if (failureCode(error) !== 'SQLITE_ERROR') throw error;
    const words = error instanceof Error ? error.message : '';
    return { name, from, pass: false, times_ms: null, problem: `${words}: run \`modelgate init\`` };
  }
}

/** To a microsecond: what is behind it differs from run to run. */
const rounded = <T extends ReturnType<typeof distributionOf>>(found: T): T =>
  Object.fromEntries(Object.entries(found).map(([figure, ms]) => [figure, Number(ms.toFixed(3))])) as T;

/** @returns each with a function that prepares it; what that returns makes a turn ready before the clock runs, and returns what is timed */
function runsOf(
  connection: Connection,
  freshness: Freshness,
  subjects: ReturnType<typeof readSubjects>,
  policy: DecideOptions,
) {
  const inTurn = <T>(values: readonly T[], turn: number): T | undefined => values[turn % values.length];
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

type Query = ReturnType<typeof gateQueries>[number] | (typeof GUIDE_QUERIES)[number];
