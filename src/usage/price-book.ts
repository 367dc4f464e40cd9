/** The prices of `usage.db` as the ledger asks for them: which one holds for a call, and what is learnt from providers' lists. */
import { covers } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import type { Price } from './price.ts';
import type { PricedModel } from './price-sources.ts';
import { type PriceRow, isSamePrice, preparePrices, setLimits, updatePrices } from './price-table.ts';
import { namesOf } from './provider-names.ts';

interface FoundPrice {
  /** `usage_price.id` */
  readonly id: number;
  readonly price: Price;
}

/** Tokens; undefined where it is not known. */
interface ModelLimits {
  readonly context: number | undefined;
  readonly maxOutput: number | undefined;
}

/** @param connection on which the tables are; prices that others add are seen at once */
export function createPriceBook(connection: Connection) {
  const candidatesFor = rememberCandidates(connection);
  const limits = prepareLimits(connection);
  return {
    /**
     * The operator's price (of the model, then of the longest prefix), else that of the provider's list, else an imported one.
     * @param provider host as in `MODELGATE_PROVIDERS` @param wireModel as the provider is asked for it
     * @param at milliseconds UTC @returns undefined where none is known; 3 µs @throws SqliteError
     */
    find(provider: string, wireModel: string, at: number): FoundPrice | undefined {
      for (const rows of candidatesFor(provider, wireModel)) {
        const { id, price } = rows.find(({ validFrom }) => validFrom <= at) ?? {};
        if (id !== undefined && price !== undefined) return { id, price };
      }
      return undefined;
    },
    /** @param provider as for `find` @throws SqliteError */
    limitsOf(provider: string, wireModel: string): ModelLimits {
      const rows = namesOf(provider).map((name) => limits(name, wireModel));
      const first = (name: keyof ModelLimits) => rows.find((row) => row[name] !== undefined)?.[name];
      return { context: first('context'), maxOutput: first('maxOutput') };
    },
    learn: prepareLearning(connection),
  };
}

/** Rows that can hold for a model: of each list the newest that is valid counts, and the lists in their order. */
type Candidates = readonly (readonly PriceRow[])[];

const MOST_MODELS = 10_000;

function rememberCandidates(connection: Connection) {
  const exact = preparePrices(connection, 'model = ? AND provider IN (SELECT value FROM json_each(?))');
  const ofPatterns = preparePrices(connection, "provider = ? AND source = 'operator' AND model LIKE '%*'");
  // every change adds a row
  const version = connection.prepare<[], number | null>('SELECT max(id) FROM usage_price').pluck();
  const models = new Map<string, Candidates>();
  const patterns = new Map<string, readonly PriceRow[]>();
  let knownVersion: number | null | undefined;
  return (provider: string, model: string): Candidates => {
    const current = version.get();
    if (knownVersion !== current || models.size >= MOST_MODELS) for (const known of [models, patterns]) known.clear();
    knownVersion = current;
    const key = `${provider}\n${model}`;
    const known = models.get(key);
    if (known !== undefined) return known;
    const ofProvider = patterns.get(provider) ?? ofPatterns(provider);
    patterns.set(provider, ofProvider);
    const candidates = inOrder(provider, model, ofProvider, exact(model, JSON.stringify(namesOf(provider))));
    models.set(key, candidates);
    return candidates;
  };
}

function inOrder(
  provider: string,
  model: string,
  patterns: readonly PriceRow[],
  rows: readonly PriceRow[],
): Candidates {
  const of = (source: PriceRow['source']) =>
    rows.filter((row) => row.source === source && (source === 'import' || row.provider === provider));
  const covering = Object.groupBy(
    patterns.filter((row) => row.model !== model && covers(row.model, model)),
    (row) => row.model,
  );
  const longestFirst = Object.keys(covering).toSorted((a, b) => b.length - a.length);
  return [of('operator'), ...longestFirst.map((pattern) => covering[pattern] ?? []), of('provider'), of('import')];
}

type StoredLimits = Readonly<Record<keyof ModelLimits, number | null>>;

const LIMITS = 'SELECT model, context, max_output AS maxOutput FROM usage_model';

const toLimits = (row: StoredLimits | undefined): ModelLimits => ({
  context: row?.context ?? undefined,
  maxOutput: row?.maxOutput ?? undefined,
});

function prepareLimits(connection: Connection) {
  const limits = connection.prepare<[string, string], StoredLimits>(`${LIMITS} WHERE model = ? AND provider = ?`);
  return (provider: string, model: string): ModelLimits => toLimits(limits.get(model, provider));
}

function prepareLearning(connection: Connection) {
  const listed = preparePrices(connection, "provider = ? AND source = 'provider'");
  const limits = connection.prepare<[string], StoredLimits & { readonly model: string }>(
    `${LIMITS} WHERE provider = ?`,
  );
  /**
   * Keeps what a provider's list says, each price with the time at which it was first seen. Inside of the caller's transaction.
   * @returns how many prices are new or others than before; writes only where something is @throws SqliteError
   */
  return function learn(provider: string, models: readonly PricedModel[], at: number): number {
    const rows = listed(provider);
    const last = new Map(rows.toReversed().map((row) => [row.model, row]));
    const known = new Map(limits.all(provider).map((row) => [row.model, toLimits(row)]));
    const news = models.filter(({ model, price, context, maxOutput }) => {
      const had = known.get(model) ?? toLimits(undefined);
      const hasLimits = (context ?? had.context) === had.context && (maxOutput ?? had.maxOutput) === had.maxOutput;
      return !hasLimits || (price !== undefined && !isSamePrice(last.get(model)?.price, price));
    });
    if (news.length === 0) return 0;
    setLimits(
      connection,
      news.map((one) => ({ provider, ...one })),
    );
    const row = { provider, validFrom: at, source: 'provider' } as const;
    const priced = news.flatMap(({ model, price }) => (price === undefined ? [] : [{ ...row, model, price }]));
    return updatePrices(connection, rows, priced).filter((outcome) => outcome !== 'same').length;
  };
}
