/** Whether what may run at a provider has a price: without one its calls are in no cost, and no budget in money counts them. */
import { existsSync } from 'node:fs';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { ATTEMPT_MS, closing } from '../backend-file/transaction.ts';
import { type Connection, describeFailure, failureCode, noteCompanions, openForReading } from '../store/database.ts';
import { prepareComposites, prepareConnectionPrefixes } from '../store/models.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { type CalledModel, readCallCosts } from '../usage/call-costs.ts';
import { createPriceBook } from '../usage/price-book.ts';
import { type Verdict, ok, unknown, warning } from './finding.ts';

/** What of the configuration these checks look at. */
export interface LedgerSettings {
  readonly path: string;
  /** `MODELGATE_BUDGET_UNPRICED` */
  readonly unpriced: 'refuse' | 'allow';
}

interface Providers {
  readonly providers: readonly { readonly url: URL; readonly prefix?: string | undefined }[];
}

const DAYS = 7;
const SHOWN = 5;

export function checkPrices(
  connection: Connection,
  schema: Schema,
  { providers }: Providers,
  { path, unpriced }: LedgerSettings,
): readonly Verdict[] {
  if (!existsSync(path)) return [unknown(`Not checked: there is no ledger at ${path} yet; the gate makes it.`)];
  using cleanup = new DisposableStack();
  cleanup.defer(noteCompanions(path));
  try {
    using ledger = closing(openForReading(path, ATTEMPT_MS));
    const now = Date.now();
    const called = readCallCosts(ledger, now - DAYS * 86_400_000);
    const prices = createPriceBook(ledger);
    const hasPrice = (provider: string, model: string) => prices.find(provider, model, now) !== undefined;
    const hosts = providers.map(({ url }) => url.host);
    // the cost that a provider reports needs no price
    const charged = new Set(called.flatMap(({ calls, unpriced, wireModel }) => (calls > unpriced ? [wireModel] : [])));
    const isKnown = (model: string) => charged.has(model) || hosts.some((host) => hasPrice(host, model));
    const prefixes = prefixesOf(connection, schema, providers);
    const granted = grantedModels(connection, schema);
    const consequence = `They are in no cost${unpriced === 'refuse' ? ', and refused where a budget in money is' : ' and in no budget in money'}.`;
    const found = [
      ...ranUnpriced(
        called.filter((one) => one.unpriced > 0 && !hasPrice(one.provider, one.wireModel)),
        consequence,
      ),
      ...grantsUnpriced(
        granted.filter((id) => !wiresOf(id, prefixes).some(isKnown)),
        consequence,
      ),
    ];
    return found.length > 0 ? found : [ok('Every model that is granted by its id, or has run lately, has a cost.')];
  } catch (error) {
    if (!failureCode(error).startsWith('SQLITE_')) throw error;
    return [unknown(`Not checked: the ledger ${path} cannot be read, ${describeFailure(error, path)}.`)];
  }
}

/** Ids as the provider may be asked for this one: with and without what a connection puts before its models. */
const wiresOf = (id: string, prefixes: readonly string[]): readonly string[] => [
  id,
  ...prefixes.flatMap((prefix) => (id.startsWith(prefix) ? [id.slice(prefix.length)] : [])),
];

const prefixesOf = (connection: Connection, schema: Schema, providers: Providers['providers']): readonly string[] => [
  ...prepareConnectionPrefixes(connection, schema)(),
  ...providers.flatMap(({ prefix }) => (prefix === undefined ? [] : [`${prefix}.`])),
];

/** Granted by their ids; of a preset its base, which is what runs. An arena runs others. */
function grantedModels(connection: Connection, schema: Schema): readonly string[] {
  const composites = prepareComposites(connection, schema)();
  return connection
    .prepare<[], string>(
      `SELECT DISTINCT coalesce(m.base_model_id, g.model_id) FROM organization_models g LEFT JOIN model m ON m.id = g.model_id
       WHERE ${activeCondition(schema.grantActive, 'g')} AND typeof(g.model_id) = 'text' AND substr(g.model_id, -1) <> '*'
       ORDER BY 1`,
    )
    .pluck()
    .all()
    .filter((id) => !composites.has(id));
}

const REMEDY =
  'Set what each costs, or that it is free, by the host of its provider: modelgate price set HOST MODEL --input USD --output USD, or --free. Published prices: modelgate price import FILE.';

function ranUnpriced(models: readonly CalledModel[], consequence: string): readonly Verdict[] {
  if (models.length === 0) return [];
  const one = ({ provider, wireModel, unpriced }: CalledModel): string =>
    `${quoted(wireModel)} of ${provider} (${unpriced.toLocaleString('en')})`;
  const more = models.length > SHOWN ? ', …' : '';
  const finding = `Without a known price ran in the last ${DAYS} days: ${models.slice(0, SHOWN).map(one).join(', ')}${more}.`;
  return [warning(`${finding} ${consequence}`, REMEDY)];
}

function grantsUnpriced(models: readonly string[], consequence: string): readonly Verdict[] {
  if (models.length === 0) return [];
  return [warning(`Granted, and without a known price: ${quotedFew(models, SHOWN)}. ${consequence}`, REMEDY)];
}
