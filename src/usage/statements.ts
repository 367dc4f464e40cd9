/** What the moves of the ledger write and read: one statement each. */
import type { Span } from '../policy/period.ts';
import type { Connection } from '../store/database.ts';
import type { Amount, Call, Ending } from './call.ts';
import { SLOT_MS, UNSETTLED } from './schema.ts';
import { type Sums, organizationsIn, sumSlots } from './slots.ts';
import type { Measured, Usage } from './usage.ts';

/** How long an instance is taken to live after its last sign of life. */
const ALIVE_MS = 15_000;

/** A call as the ledger has it. */
export interface CallRow extends Omit<Call, 'chat' | 'isStreamed' | 'isFree'> {
  readonly state: 'open' | 'closed' | 'refused' | 'failed' | 'interrupted';
  readonly endedAt: number | null;
  readonly chat: string | null;
  readonly generationId: string | null;
  readonly isStreamed: 0 | 1;
  readonly bytesOut: number | null;
  readonly status: number | null;
  readonly reservedNano: number;
  readonly reservedTokens: number;
  /** How often the provider was asked for its figures. */
  readonly tries: number;
}

const CALLS = `SELECT id, instance, state, started_at AS startedAt, ended_at AS endedAt, organization_id AS organization, user_id AS user,
    chat_id AS chat, provider, endpoint, kind, model, wire_model AS wireModel, generation_id AS generationId, is_streamed AS isStreamed,
    bytes_in AS bytesIn, bytes_out AS bytesOut, status, reserved_nano AS reservedNano, reserved_tokens AS reservedTokens, tries
  FROM usage_request`;

/** What the end of a call needs of its row: the whole of it takes as long to read as all else takes. */
export type Standing = Pick<CallRow, 'state' | 'generationId' | 'reservedNano' | 'reservedTokens'>;

const STANDING = `SELECT state, generation_id AS generationId, reserved_nano AS reservedNano, reserved_tokens AS reservedTokens
  FROM usage_request WHERE id = ?`;

interface Figures {
  readonly usage: Usage;
  readonly measured: Measured;
  readonly cost: { readonly nano: number | undefined; readonly price: number | undefined };
}

/** In the place of one that was refused and has run nevertheless. */
const BEGIN = `INSERT INTO usage_request (id, instance, state, started_at, organization_id, user_id, chat_id, provider, endpoint, kind, model,
    wire_model, is_streamed, bytes_in, reserved_nano, reserved_tokens)
  VALUES ($id, $instance, $state, $startedAt, $organization, $user, $chat, $provider, $endpoint, $kind, $model,
    $wireModel, $isStreamed, $bytesIn, $nano, $tokens)
  ON CONFLICT (id) DO UPDATE SET state = excluded.state, reserved_nano = excluded.reserved_nano, reserved_tokens = excluded.reserved_tokens`;

const ENDED = `ended_at = $endedAt, status = $status, answered_model = coalesce($answeredModel, answered_model), bytes_out = $bytesOut`;

const SETTLE = `UPDATE usage_request SET state = $state, ${ENDED}, input = $input, input_cached = $inputCached,
    input_cache_write = $inputCacheWrite, output = $output, output_reasoning = $outputReasoning, units = $units, unit = $unit,
    cost_nano = $cost, price_id = $price, measured = $measured, reserved_nano = 0, reserved_tokens = 0 WHERE id = $id`;

const COUNTED = [
  ...['requests', 'input', 'input_cached', 'input_cache_write', 'output', 'output_reasoning'],
  ...['cost_nano', 'unpriced'],
];

const orNone = (place: string): string => `coalesce(CAST(${place} AS BIGINT), 0)`;

const ADD = `INSERT INTO usage_slot VALUES ($organization, $slot, $user, $provider, $model, $kind, $measured, 1,
    ${['$input', '$inputCached', '$inputCacheWrite', '$output', '$outputReasoning', '$cost'].map(orNone).join(', ')}, $unpriced)
  ON CONFLICT (organization_id, slot, user_id, provider, model, kind, measured)
  DO UPDATE SET ${COUNTED.map((column) => `${column} = usage_slot.${column} + excluded.${column}`).join(', ')}`;

/** Of PostgreSQL, in milliseconds. */
const CLOCK = 'CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)';

const UNRESOLVED = `${CALLS} INDEXED BY usage_request_unsettled
  WHERE ${UNSETTLED} AND state = 'interrupted' ORDER BY tries, started_at LIMIT ?`;

/** The least UUID of version 7 of that moment (RFC 9562 5.7): ids begin with their time. */
export const firstIdOf = (ms: number): string => Math.max(0, ms).toString(16).padStart(12, '0').replace(/^.{8}/, '$&-');

export function prepareUsage(connection: Connection) {
  const row = connection.prepare<[string], CallRow>(`${CALLS} WHERE id = ?`);
  const standing = connection.prepare<[string], Standing>(STANDING);
  const begin = connection.prepare(BEGIN);
  const noted = connection.prepare(
    `UPDATE usage_request SET generation_id = $generationId WHERE id = $id AND generation_id IS NULL AND NOT EXISTS
       (SELECT 1 FROM usage_request o WHERE o.provider = usage_request.provider AND o.generation_id = $generationId)`,
  );
  const interrupt = connection.prepare(`UPDATE usage_request SET state = 'interrupted', ${ENDED} WHERE id = $id`);
  const settle = connection.prepare(SETTLE);
  const add = connection.prepare(ADD);
  const generation = connection.prepare(
    'SELECT 1 FROM usage_request WHERE provider = ? AND generation_id IS NOT NULL LIMIT 1',
  );
  const free = connection.prepare(
    `SELECT 1 FROM usage_price WHERE free = 1 AND (model = $model OR (model LIKE '%*' AND $model LIKE '%' || rtrim(model, '*') || '%')) LIMIT 1`,
  );
  const unresolved = connection.prepare<[number], CallRow>(UNRESOLVED);
  const tried = connection.prepare('UPDATE usage_request SET tries = tries + 1 WHERE id = ?');
  const forget = connection.prepare(
    `DELETE FROM usage_request WHERE id IN (SELECT id FROM usage_request WHERE id < ? AND NOT (${UNSETTLED}) LIMIT 500)`,
  );
  const endedOf = ({ endedAt, status, answeredModel, bytesOut }: Ending) => ({
    ...{ endedAt, status: status ?? null, answeredModel: answeredModel ?? null, bytesOut: bytesOut ?? null },
  });

  return {
    ...prepareInstances(connection),
    find: (id: string): CallRow | undefined => row.get(id),
    standing: (id: string): Standing | undefined => standing.get(id),
    callOf,
    begin(call: Call, state: 'open' | 'refused', { nano, tokens }: Amount): void {
      const { chat = null, isStreamed, isFree: _, ...rest } = call;
      begin.run({ ...rest, chat, isStreamed: Number(isStreamed), state, nano, tokens });
    },
    /** Two rows of one generation cannot be: the second stays without, and is estimated where it must be. */
    note: (id: string, generationId: string): void => void noted.run({ id, generationId }),
    interrupt: (id: string, ending: Ending): void => void interrupt.run({ id, ...endedOf(ending) }),
    settle(call: Call, ending: Ending, { usage, measured, cost }: Figures): void {
      const { id, organization, user, provider, model, kind, startedAt } = call;
      const figures = { ...columnsOf(usage), measured, cost: cost.nano ?? null, price: cost.price ?? null };
      const isFailed = ending.state === 'failed';
      settle.run({ id, state: isFailed ? 'failed' : 'closed', ...endedOf(ending), ...figures });
      if (isFailed) return;
      const slot = startedAt - (startedAt % SLOT_MS);
      const unpriced = Number(cost.nano === undefined);
      add.run({ organization, user, provider, model, kind, slot, unpriced, ...figures });
    },
    /** Does the provider give its answers ids by which they can be looked up? */
    hasGenerations: (provider: string): boolean => generation.get(provider) !== undefined,
    /** Has any provider a model for nothing that may be this one, by whatever prefix it is listed? */
    mayBeFree: (model: string): boolean => free.get({ model }) !== undefined,
    unresolved: (most: number) => unresolved.all(most),
    tried: (id: string): void => void tried.run(id),
    /** @param before UUID of the time before which rows are dropped @returns how many of them; call again while there are any */
    forget: (before: string): number => forget.run(before).changes,
    /** Of all time, as metrics count them. */
    sums: () => sumSlots(connection, organizationsIn(connection), ALL_TIME, SUMMED).map(toFigures),
  };
}

const ALL_TIME: Span = { from: 0, to: Number.MAX_SAFE_INTEGER };
const SUMMED = ['organization', 'model', 'kind', 'measured'] as const;

const toFigures = <S extends Sums>({ costNano, ...sums }: S) => ({ ...sums, cost: Number(costNano) });

function prepareInstances(connection: Connection) {
  const live = connection.prepare(
    'INSERT INTO usage_instance VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET heartbeat = excluded.heartbeat',
  );
  // gates on several machines have clocks of their own, and one alone judges who lives
  const clock = connection.postgres && connection.prepare<[], number>(`SELECT ${CLOCK}`).pluck();
  const last = connection.prepare<[string], number>('SELECT heartbeat FROM usage_instance WHERE id = ?').pluck();
  const renew = connection.prepare('UPDATE usage_instance SET heartbeat = ? WHERE heartbeat > ?');
  const cut = `UPDATE usage_request INDEXED BY usage_request_unsettled SET state = 'interrupted' WHERE ${UNSETTLED} AND state = 'open'`;
  const orphan = connection.prepare(`${cut} AND instance NOT IN (SELECT id FROM usage_instance WHERE heartbeat > ?)`);
  const abandon = connection.prepare(`${cut} AND instance = ?`);
  const bury = connection.prepare('DELETE FROM usage_instance WHERE heartbeat <= ? OR id = ?');
  const counts = connection.prepare<[], { open: number; interrupted: number }>(
    `SELECT count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'interrupted') AS interrupted
      FROM usage_request INDEXED BY usage_request_unsettled WHERE ${UNSETTLED}`,
  );
  return {
    /**
     * A sign of life. What instances without one have left open becomes interrupted; but where this one has given none
     * for as long (the ledger was away, the machine slept, the clock was set), the others could not either: for those that
     * lived then, the time begins anew.
     */
    beat(instance: string, ownNow: number) {
      const now = clock?.get() ?? ownNow;
      const before = last.get(instance);
      const isSteady = before !== undefined && before > now - ALIVE_MS;
      if (before !== undefined && !isSteady) renew.run(now, before - ALIVE_MS);
      live.run(instance, now);
      const orphaned = isSteady ? orphan.run(now - ALIVE_MS).changes : 0;
      bury.run(now - 10 * ALIVE_MS, '');
      return { orphaned, ...(counts.get() ?? { open: 0, interrupted: 0 }) };
    },
    /** The last sign of life: what it has left open is interrupted from now on. */
    leave(instance: string): void {
      abandon.run(instance);
      bury.run(0, instance);
    },
  };
}

const columnsOf = (usage: Usage) => ({
  input: usage.input ?? null,
  inputCached: usage.inputCached ?? null,
  inputCacheWrite: usage.inputCacheWrite ?? null,
  output: usage.output ?? null,
  outputReasoning: usage.outputReasoning ?? null,
  units: usage.units ?? null,
  unit: usage.unit ?? null,
});

const callOf = ({ chat, isStreamed, ...row }: CallRow): Call => ({
  ...{ ...row, chat: chat ?? undefined, isStreamed: isStreamed === 1, isFree: false },
});
