/** Five organizations behind both doors, and a provider that keeps a ledger of its own: the judge of ours. */
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type CallRow, callsIn } from '../support/database/usage.ts';
import { type Charged, type MeteredProvider, startMeteredProvider } from '../support/upstream/metered-provider.ts';
import type { RecordedRequest } from '../support/upstream/upstreams.ts';
import { type Account, addUser, through } from './backend-client.ts';
import type { Release } from './release.ts';
import { type Tenants, NO_LIMITS, startTenants } from './tenants.ts';

/** What the backend runs for itself. */
export const TASK_MODEL = 'worker';
export const EMBEDDING_MODEL = 'embedding-of-the-backend';
/** What every answer says that is not streamed: all that a task wants. */
const ANSWER_OF_TASKS = '{"title": "Words", "tags": ["words"], "follow_ups": ["More words?"]}';

/** Who pays for what; `otherwise` for what the backend runs for itself. */
interface Payers {
  readonly alpha?: string;
  readonly beta?: string;
  readonly otherwise: string;
}

/** Cleo joined globex first, but acme alone names `alpha` exactly. */
const PAYERS = {
  ann: { alpha: 'acme', beta: 'acme', otherwise: 'acme' },
  bob: { beta: 'globex', otherwise: 'globex' },
  cleo: { alpha: 'acme', beta: 'globex', otherwise: 'globex' },
  ivy: { alpha: 'initech', beta: 'initech', otherwise: 'initech' },
  ian: { alpha: 'initech', beta: 'initech', otherwise: 'initech' },
  una: { alpha: 'umbrella', otherwise: 'umbrella' },
  hal: { alpha: 'hooli', otherwise: 'hooli' },
} as const satisfies Record<string, Payers>;
export type Name = keyof typeof PAYERS;

const NAMES = Object.keys(PAYERS) as Name[];
/** Those whose organizations have no budget in any test. */
export const UNLIMITED = ['ann', 'bob', 'cleo', 'ivy', 'ian'] as const satisfies Name[];
export const modelsOf = (name: Name) => Object.keys(PAYERS[name]).filter((model) => model !== 'otherwise');

export interface ChargedTenants extends Omit<Tenants, 'provider'> {
  readonly provider: MeteredProvider;
  readonly people: Readonly<Record<Name, Account>>;
  /** All rows of `usage.db`. */
  readonly usagePath: string;
  /** As the provider has it, and as our ledger has it: both in the order of the requests. */
  ledgers(): { provider: LedgerRow[]; ours: LedgerRow[] };
  /** A budget for this month, used up or not. */
  budget(organization: string, amount: number, measure: 'usd' | 'requests', scope?: string): void;
  withoutBudgets(): void;
  /** Finished access lines: of the front door `invokes`, of the provider door `runs` and `service`. */
  lines(surface: string): AccessLine[];
}

export interface AccessLine {
  readonly surface: string;
  readonly status: number;
  readonly path: string;
  readonly model?: string;
  readonly code?: string;
}

export async function startChargedTenants(version: Release): Promise<ChargedTenants> {
  const provider = await startMeteredProvider({
    models: ['alpha', 'beta', 'gamma', TASK_MODEL],
    content: ANSWER_OF_TASKS,
    tokens: tokensFor,
  });
  const tenants = await startTenants({
    version,
    provider,
    providerDoor: true,
    backendSettings: {
      TASK_MODEL_EXTERNAL: TASK_MODEL,
      // its database has one writer, and 0.12.4 answers within 5 s that it is locked
      DATABASE_SQLITE_PRAGMA_BUSY_TIMEOUT: '30000',
    },
    gateSettings: {
      ...NO_LIMITS,
      MODELGATE_PROVIDER_SERVICE_MODELS: `${TASK_MODEL},${EMBEDDING_MODEL}`,
      MODELGATE_PROVIDER_USER_FIELD: 'organization',
    },
  });
  const people = await hire(tenants);
  const usagePath = join(tenants.backend.dataDir, 'modelgate', 'usage.db');
  const userOf = new Map(Object.values(people).map(({ name, id }) => [name, id]));
  const add = tenants.sql.prepare(
    `INSERT INTO organization_budgets (id, organization_id, measure, amount, period, scope)
     VALUES ($scope || $organization, $organization, $measure, $amount, 'month', $scope)`,
  );
  return {
    ...tenants,
    provider,
    people,
    usagePath,
    ledgers() {
      const asked = new Map(provider.requests.map((request) => [request.all('x-request-id')[0], request]));
      return {
        provider: provider.charged.map((row) => rowOfProvider(row, asked.get(row.request), userOf)).sort(byId),
        ours: callsIn(usagePath).map(rowOfOurs),
      };
    },
    budget: (organization, amount, measure, scope = 'organization') =>
      void add.run({ organization, amount, measure, scope }),
    withoutBudgets: () => void tenants.sql.exec('DELETE FROM organization_budgets'),
    lines: (surface) =>
      tenants.gate
        .log()
        .split('\n')
        .filter((line) => line.includes(`"surface":"${surface}"`))
        .map((line) => JSON.parse(line) as AccessLine),
  };
}

/** 3 to 22, by what is asked: an answer that is asked for on two ways is as long on both. */
const tokensFor = (body: string): number =>
  3 + (crc32(JSON.stringify((JSON.parse(body) as { messages?: unknown }).messages ?? '')) % 20);

async function hire(tenants: Tenants): Promise<Record<Name, Account>> {
  const admin = through(tenants.ada, tenants.backend.url);
  const add = async (name: Name) =>
    through(await addUser(admin, { name, email: `${name}@example.com` }), tenants.gate.url);
  const [cleo, ivy, ian, una, hal] = await Promise.all([add('cleo'), add('ivy'), add('ian'), add('una'), add('hal')]);
  for (const organization of ['globex', 'acme']) tenants.join(organization, cleo);
  tenants.sql
    .prepare("UPDATE organization_members SET joined_at = joined_at - 60 WHERE organization_id = 'globex'")
    .run();
  for (const account of [ivy, ian]) tenants.join('initech', account);
  tenants.join('umbrella', una);
  tenants.join('hooli', hal);
  tenants.grant('acme', 'beta');
  tenants.grant('globex', 'alph*');
  for (const model of ['alpha', 'beta']) tenants.grant('initech', model);
  for (const organization of ['umbrella', 'hooli']) tenants.grant(organization, 'alpha');
  const [ann, bob] = [
    { ...tenants.ann, name: 'ann' },
    { ...tenants.bob, name: 'bob' },
  ];
  return { ann, bob, cleo, ivy, ian, una, hal };
}

/** What both ledgers must say of a call. */
export type LedgerRow = Readonly<Record<string, string | number | null | undefined>>;

const byId = (a: LedgerRow, b: LedgerRow): number => (String(a['id']) < String(b['id']) ? -1 : 1);

/** Every question says whose it is, and every task quotes the question: nothing here rests on what our door knows. */
function rowOfProvider(
  { request: id, model, generation, input, output, costNano }: Charged,
  asked: RecordedRequest | undefined,
  userOf: ReadonlyMap<string, string>,
): LedgerRow {
  const name = NAMES.find((one) => asked?.body.includes(` of ${one}.`));
  if (asked === undefined || name === undefined) throw new Error('the provider charged what was never asked');
  const payers: Payers = PAYERS[name];
  return {
    ...{ id, model, generation, input, output, costNano, state: 'closed', measured: 'reported' },
    user: userOf.get(name),
    organization: payers[model as keyof Payers] ?? payers.otherwise,
    told: (asked.json as { user?: string }).user,
    kind: kindOf(asked),
  };
}

const kindOf = ({ path, body }: RecordedRequest): string =>
  path.endsWith('/embeddings') ? 'embedding' : body.includes('### Task:') ? 'task' : 'chat';

const rowOfOurs = (row: CallRow): LedgerRow => ({
  id: row.id,
  user: row.user_id,
  organization: row.organization_id,
  told: row.organization_id,
  kind: row.kind,
  model: row.wire_model,
  generation: row.generation_id,
  input: row.input,
  output: row.output ?? 0,
  costNano: row.cost_nano,
  state: row.state,
  measured: row.measured,
});
