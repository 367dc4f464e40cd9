/** What the commands do with prices: list, set, end and import them. The transaction is the caller's. */
import { covers } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import type { Price } from './price.ts';
import type { ImportedModel, Skipped } from './price-sources.ts';
import { type PriceRow, addPrices, isSamePrice, keyOf, preparePrices, setLimits, updatePrices } from './price-table.ts';
import { isReachable, namesOf } from './provider-names.ts';

/** `model` is an id, or a prefix that ends in `*`. */
type Wanted = Readonly<{ provider?: string | undefined; model?: string | undefined }>;

const ORDER: Readonly<Record<PriceRow['source'], number>> = { operator: 0, provider: 1, import: 2 };

/** @returns of each source the prices that hold now, and those that are to come @throws SqliteError */
export function listPrices(connection: Connection, { provider, model }: Wanted, now: number): readonly PriceRow[] {
  const names = provider === undefined ? undefined : namesOf(provider);
  const rows = preparePrices(connection, 'TRUE')().filter(
    (row) => (names?.includes(row.provider) ?? true) && (model === undefined || isAbout(row, model)),
  );
  const sorted = (one: string, other: string) => (one < other ? -1 : Number(one > other));
  return holding(rows, now).toSorted(
    (one, other) =>
      sorted(one.provider, other.provider) ||
      sorted(one.model, other.model) ||
      ORDER[one.source] - ORDER[other.source] ||
      one.validFrom - other.validFrom,
  );
}

/** @param rows the newest first @returns those that hold now or later; of two that begin together the one that was written last */
function holding(rows: readonly PriceRow[], now: number): readonly PriceRow[] {
  const seen = new Set<string>();
  return rows.filter(({ provider, model, source, validFrom, price }) => {
    const key = JSON.stringify([source, provider, model, Math.max(validFrom, now)]);
    if (seen.has(key)) return false;
    seen.add(key);
    return price !== undefined;
  });
}

const isAbout = (row: PriceRow, wanted: string): boolean =>
  covers(wanted, row.model) || (row.source === 'operator' && covers(row.model, wanted));

interface OperatorPrice {
  readonly provider: string;
  readonly model: string;
  readonly price: Price;
  /** Milliseconds UTC. */
  readonly validFrom: number;
}

/** @returns what has become of it, and when a later price takes its place @throws SqliteError */
export function setPrice(connection: Connection, wanted: OperatorPrice) {
  const rows = holding(operatorPrices(connection, wanted), wanted.validFrom);
  const before = rows.find(({ validFrom }) => validFrom <= wanted.validFrom)?.price;
  const next = rows.findLast(({ validFrom }) => validFrom > wanted.validFrom)?.validFrom;
  const outcome = isSamePrice(before, wanted.price) ? 'same' : before === undefined ? 'new' : 'changed';
  if (outcome !== 'same') addPrices(connection, [{ ...wanted, source: 'operator' }]);
  return { outcome, next } as const;
}

/** Ends an operator's price; those that are to come are deleted. @returns false where there is none @throws SqliteError */
export function endPrice(connection: Connection, wanted: Required<Wanted>, now: number): boolean {
  if (holding(operatorPrices(connection, wanted), now).length === 0) return false;
  const { provider = '', model = '' } = wanted;
  // the row that ends them has the highest id before any other goes: that id tells readers that something has changed
  addPrices(connection, [{ provider, model, validFrom: now, source: 'operator', price: undefined }]);
  connection
    .prepare(`DELETE FROM usage_price WHERE provider = ? AND model = ? AND source = 'operator' AND valid_from > ?`)
    .run(provider, model, now);
  return true;
}

const operatorPrices = (connection: Connection, { provider = '', model = '' }: Wanted): readonly PriceRow[] =>
  preparePrices(connection, "provider = ? AND model = ? AND source = 'operator'")(provider, model);

export type Imported = 'new' | 'changed' | 'same' | Skipped | 'repeated';

/** Of one that is there twice the first counts. @returns how many of each kind there are @throws SqliteError */
export function importPrices(connection: Connection, models: readonly ImportedModel[], now: number) {
  const counts: Partial<Record<Imported, number>> = {};
  const count = (kind: Imported): void => void (counts[kind] = (counts[kind] ?? 0) + 1);
  const taken = new Set<string>();
  const rows = models.flatMap(({ provider, model, price, skipped = 'no_price' }) => {
    const isFirst = price !== undefined && taken.size < taken.add(keyOf({ provider, model })).size;
    if (isFirst) return [{ provider, model, price, validFrom: now, source: 'import' } as const];
    count(price === undefined ? skipped : 'repeated');
    return [];
  });
  setLimits(
    connection,
    models.filter(({ provider }) => isReachable(provider)),
  );
  const known = preparePrices(connection, "source = 'import'")();
  for (const outcome of updatePrices(connection, known, rows)) count(outcome);
  return counts;
}
