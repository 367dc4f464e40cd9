/**
 * The parts of a check: what each kind of read asks of PostgreSQL for all of its keys at once, and what the answer means. Each
 * gives one JSON text, so that a row of the answer costs nothing by itself. A subquery for each key, and no join: whatever the
 * planner takes the number of keys for, it looks them up in an index.
 */
import type { ModelId } from '../../policy/grant.ts';
import { toUserId } from '../../policy/principal.ts';
import {
  type Client,
  type Row as BudgetRow,
  COLUMNS,
  MOST_ORGANIZATIONS,
  NO_CLIENT,
  budgetsFrom,
  nameOf,
} from '../budgets.ts';
import { type PresetOwnerRow, MOST_PARAMETERS, ofAdmins } from '../models.ts';
import { usableKey } from '../provider-settings.ts';
import type { PointRead, PointReads } from '../queries.ts';
import { toAccount, toMemberships, toPreset, toText } from '../rows.ts';
import { type Layout, isOn } from './layout.ts';
import { VERSIONS } from './tables.ts';

type Settled = 'composites' | 'connectionPrefixes' | 'providerSettings';
export type PartName = Exclude<PointRead, Settled>;
type Row = readonly unknown[];

interface Part<N extends PartName> {
  /** SQL for one value, JSON or a number; the key is `k.key`, and `k.known` the version of what is known of it. */
  readonly sql: (layout: Layout) => string;
  /** Joined to the keys: for a small table that the planner would read whole for each key, or for more than one value. */
  readonly beside?: (layout: Layout) => string;
  readonly read: (found: unknown, key: string) => ReturnType<PointReads[N]>;
}

/** With the version of its row: what is known in this version is not sent again. */
export const VERSIONED: ReadonlySet<PointRead> = new Set<PartName>(['patternsOf', 'allPatterns', 'preset']);

/** Sent in place of what is put off, because too much was asked at once: a question that needs it asks again. */
export const PUT_OFF = false;
/** Bytes of parameters in one check, some 10 ms, and those of one preset beyond. */
const MOST_AT_ONCE = 250_000;

/** Answered from one row, and not for a key. */
export const KEYLESS: ReadonlySet<PointRead> = new Set<PartName>(['allPatterns', 'allBudgets']);

const one = (condition: string): string => `CASE WHEN ${condition} THEN 1 ELSE 0 END`;
const rowOf = (found: unknown): Row | undefined => (found === null ? undefined : (found as Row));
const rowsOf = (found: unknown): readonly Row[] => (found ?? []) as readonly Row[];
const valuesOf = (found: unknown): Row => (found ?? []) as Row;

const onIn = ({ has }: Layout, table: string, alias: string): string =>
  has(table, 'is_active') ? isOn(`${alias}.is_active`) : 'TRUE';

/** Every trigger stands and is switched on: otherwise a version says nothing, and all is sent. Asked once a check. */
const counted = ({ at }: Layout): string =>
  `(SELECT count(*) = 4 FROM pg_trigger WHERE tgrelid = '${at('organization_models').replaceAll("'", "''")}'::regclass
    AND tgname LIKE 'modelgate\\_grants\\_%\\_1' AND tgenabled IN ('A', 'O'))`;

/** A row's place and the transaction that wrote it: another version of it has others. */
export const rowVersion = (alias: string): string => `${alias}.xmin::text || ${alias}.ctid::text`;

function client({ at, has }: Layout): string {
  if (!has('client_organizations', 'id')) return 'NULL::json';
  const read = (column: string) => (has('client_organizations', column) ? `c.${column}` : 'NULL');
  const zone = has('client_organizations', 'timezone') ? `nullif(c.timezone, '')` : 'NULL';
  return `(SELECT json_build_object('name', ${read('name')}, 'limit', ${read('monthly_limit')}, 'zone', ${zone})
    FROM ${at('client_organizations')} c WHERE c.id = k.key LIMIT 1)`;
}

/** What is too long is no JSON here, and so not read, as on a file; its length is known without unpacking it. */
const PARAMETERS_BYTES = `CASE WHEN octet_length(m.params::text) > ${MOST_PARAMETERS} THEN 0 ELSE coalesce(octet_length(m.params::text), 0) END`;
const PARAMETERS = `CASE WHEN octet_length(m.params::text) > ${MOST_PARAMETERS} THEN '[' ELSE m.params::text END`;

const isBudgetTable = ({ has }: Layout): boolean =>
  has('organization_budgets', 'organization_id', 'id', 'measure', 'amount', 'period');

function budgetRows(layout: Layout): string {
  if (!isBudgetTable(layout)) return `'[]'::json`;
  const { at, has } = layout;
  const read = Object.entries(COLUMNS).map(
    ([name, missing]) => `'${name}', ${has('organization_budgets', name) ? `b.${name}` : (missing ?? 'NULL')}`,
  );
  const hard = has('organization_budgets', 'is_hard') ? `coalesce(b.is_hard::text, '1') NOT IN ('0', 'false')` : 'TRUE';
  const order = ['measure', 'period', 'scope', 'id'].filter((name) => has('organization_budgets', name));
  return `(SELECT coalesce(json_agg(json_build_object(${read.join(', ')}, 'active', ${one(onIn(layout, 'organization_budgets', 'b'))},
      'hard', ${one(hard)}) ORDER BY ${order.map((name) => `b.${name} COLLATE "C"`).join(', ')}), '[]'::json)
    FROM ${at('organization_budgets')} b WHERE b.organization_id = k.key)`;
}

function budgeted(layout: Layout): string {
  const { at, has } = layout;
  const own = isBudgetTable(layout) ? [`SELECT organization_id::text AS id FROM ${at('organization_budgets')}`] : [];
  const isLimited = has('client_organizations', 'id', 'monthly_limit');
  const mai = `SELECT id::text FROM ${at('client_organizations')} WHERE monthly_limit IS NOT NULL`;
  const named = ['SELECT NULL::text AS id', ...own, ...(isLimited ? [mai] : [])].join(' UNION ');
  return `(SELECT id AS key FROM (${named}) named WHERE id IS NOT NULL ORDER BY id COLLATE "C" LIMIT ${MOST_ORGANIZATIONS}) k`;
}

const toBudgets = (organization: string, [rows, found]: Row) =>
  budgetsFrom(organization, valuesOf(rows) as readonly BudgetRow[], (found as Client | null) ?? NO_CLIENT);

/** In the order of their places in a statement. */
export const PARTS: { readonly [N in PartName]: Part<N> } = {
  accountOf: {
    sql: ({ at, has }) =>
      has('auth', 'id', 'session_stamp')
        ? `SELECT json_build_array(u.role, ${one('a.id IS NOT NULL')}, a.session_stamp)
          FROM ${at('user')} u LEFT JOIN ${at('auth')} a ON a.id = u.id WHERE u.id = k.key LIMIT 1`
        : `SELECT json_build_array(u.role, 0, NULL) FROM ${at('user')} u WHERE u.id = k.key LIMIT 1`,
    read: (found) => toAccount(rowOf(found)),
  },
  userOfApiKey: {
    sql({ at, has }) {
      if (has('api_key', 'key', 'user_id')) {
        return `SELECT json_build_array(a.user_id) FROM ${at('api_key')} a WHERE a."key" = k.key LIMIT 1`;
      }
      if (!has('user', 'api_key')) return 'NULL::json';
      return `SELECT json_build_array(u.id) FROM ${at('user')} u WHERE u.api_key = k.key LIMIT 1`;
    },
    read: (found) => toText(rowOf(found)?.[0]).map(toUserId)[0],
  },
  membershipsOf: {
    sql: (
      layout,
    ) => `SELECT json_agg(json_build_array(m.organization_id, m.user_id, ${one(onIn(layout, 'organization_members', 'm'))})
      ORDER BY ${layout.has('organization_members', 'joined_at') ? 'm.joined_at NULLS LAST, ' : ''}m.organization_id::text COLLATE "C")
      FROM ${layout.at('organization_members')} m WHERE m.user_id = k.key`,
    read: (found, user) => toMemberships(rowsOf(found), user),
  },
  isActive: {
    sql: ({ at, has }) =>
      has('client_organizations', 'id', 'is_active')
        ? `SELECT min(${one(isOn('c.is_active'))}) FROM ${at('client_organizations')} c WHERE c.id = k.key`
        : 'NULL::integer',
    read: (found) => (found ?? 1) === 1,
  },
  patternsOf: {
    sql(layout) {
      const { at, has } = layout;
      const grants = `(SELECT coalesce(json_agg(m.model_id), '[]'::json) FROM ${at('organization_models')} m
        WHERE m.organization_id = k.key AND ${onIn(layout, 'organization_models', 'm')})`;
      if (!has(VERSIONS, 'organization_id', 'version')) return `SELECT json_build_array(NULL, ${grants})`;
      return `SELECT json_build_array(o.version::text, CASE WHEN o.version::text = k.known AND ${counted(layout)} THEN NULL ELSE ${grants} END)`;
    },
    beside: ({ at, has }) =>
      has(VERSIONS, 'organization_id', 'version') ? `LEFT JOIN ${at(VERSIONS)} o ON o.organization_id = k.key` : '',
    read: (found) => valuesOf(found).flatMap(toText),
  },
  preset: {
    // the shortest first: a question that names many long ones asks again, and no other waits for them
    sql: () => `CASE WHEN r.version IS NULL THEN NULL ELSE json_build_array(r.version, CASE WHEN r.version = k.known THEN NULL
        WHEN sum(r.bytes) OVER (ORDER BY r.bytes, k.n) - r.bytes > ${MOST_AT_ONCE} THEN to_json(FALSE)
        ELSE json_build_array(r.base_model_id, r.params, r.user_id) END) END`,
    beside: ({ at, has }) => `LEFT JOIN LATERAL (SELECT ${rowVersion('m')} AS version, m.base_model_id,
        ${has('model', 'params') ? PARAMETERS : 'NULL'} AS params, ${has('model', 'user_id') ? 'm.user_id' : 'NULL'} AS user_id,
        CASE WHEN ${rowVersion('m')} = k.known THEN 0 ELSE ${has('model', 'params') ? PARAMETERS_BYTES : '0'} END AS bytes
      FROM ${at('model')} m WHERE m.id = k.key LIMIT 1) r ON TRUE`,
    read: (found, id) => toPreset(rowOf(found), id as ModelId),
  },
  presetsOn: {
    sql(layout) {
      const { at, has } = layout;
      const owner = has('model', 'user_id') ? 'm.user_id' : 'NULL';
      return `SELECT json_agg(json_build_object('id', m.id, 'owner', ${owner}, 'known', u.id, 'email', NULL, 'role', u.role))
        FROM ${at('model')} m LEFT JOIN ${at('user')} u ON u.id = ${owner}
        WHERE m.base_model_id = k.key AND m.id <> m.base_model_id AND ${onIn(layout, 'model', 'm')}`;
    },
    read: (found) => ofAdmins(valuesOf(found) as readonly PresetOwnerRow[]),
  },
  openrouterKeyOf: {
    sql: ({ at, has }) =>
      has('client_organizations', 'id', 'openrouter_api_key')
        ? `SELECT json_agg(c.openrouter_api_key) FROM ${at('client_organizations')} c WHERE c.id = k.key`
        : 'NULL::json',
    read: (found) => usableKey(valuesOf(found)),
  },
  organizationName: {
    sql: client,
    read: (found) => nameOf((found as Client | null) ?? NO_CLIENT),
  },
  budgetsOf: {
    sql: (layout) => `SELECT json_build_array(${budgetRows(layout)}, ${client(layout)})`,
    read: (found, organization) => toBudgets(organization, valuesOf(found)),
  },
  allBudgets: {
    sql: (layout) =>
      `SELECT json_agg(json_build_array(k.key, ${budgetRows(layout)}, ${client(layout)})) FROM ${budgeted(layout)}`,
    read: (found) => rowsOf(found).flatMap(([organization, ...rest]) => toBudgets(String(organization), rest)),
  },
  allPatterns: {
    // of half a million grants it takes 100 ms, and any user may ask: again only where a grant has changed
    sql(layout) {
      const { at, has } = layout;
      const all = `(SELECT coalesce(json_agg(g.id), '[]'::json) FROM (SELECT DISTINCT m.model_id::text AS id
        FROM ${at('organization_models')} m WHERE ${onIn(layout, 'organization_models', 'm')} AND m.model_id <> '*') g)`;
      if (!has(VERSIONS, 'organization_id', 'version')) return `SELECT json_build_array(NULL, ${all})`;
      return `SELECT json_build_array(o.version, CASE WHEN o.version = k.known AND ${counted(layout)} THEN NULL ELSE ${all} END)
        FROM (SELECT count(*) || ' ' || coalesce(sum(version), 0) AS version FROM ${at(VERSIONS)}) o`;
    },
    read: (found) => valuesOf(found).flatMap(toText),
  },
};

/** A key that no text of PostgreSQL can be equal to. */
export const isUnaskable = (key: string): boolean => key.includes('\0') || !key.isWellFormed();
