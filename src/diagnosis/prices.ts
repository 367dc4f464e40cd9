/** Whether what may run at a provider has a price: without one its calls are in no cost, and no budget in money counts them. */
import { quoted, quotedFew } from '../backend-file/text.ts';
import type { Connection } from '../store/database.ts';
import { prepareComposites, prepareConnectionPrefixes } from '../store/models.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { createPriceBook } from '../usage/price-book.ts';
import { firstIdOf } from '../usage/statements.ts';
import { type Verdict, ok, unknown, warning } from './finding.ts';
import { type LedgerPlace, onLedger } from './ledger.ts';

/** What of the configuration these checks look at. */
export interface LedgerSettings extends LedgerPlace {
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
  { unpriced, ...place }: LedgerSettings,
): Promise<readonly Verdict[]> {
  const absent = unknown(`Not checked: there is no ledger at ${place.path} yet; the gate makes it.`);
  return onLedger(place, absent, (ledger) => {
    const now = Date.now();
    const called = readCalledModels(ledger, now - DAYS * 86_400_000);
    const prices = createPriceBook(ledger);
    const hasPrice = (provider: string, model: string) => prices.find(provider, model, now) !== undefined;
    // the cost that a provider reports needs no price
    const charged = new Set(called.flatMap(({ calls, unpriced, wireModel }) => (calls > unpriced ? [wireModel] : [])));
    const isKnown = (model: string) => charged.has(model) || providers.some(({ url }) => hasPrice(url.host, model));
    const prefixes = prefixesOf(connection, schema, providers);
    const ran = called.filter((one) => one.unpriced > 0 && !hasPrice(one.provider, one.wireModel));
    const granted = grantedModels(connection, schema).filter((id) => !wiresOf(id, prefixes).some(isKnown));
    const findings = [
      ...(ran.length > 0 ? [`Without a known price ran in the last ${DAYS} days: ${listed(ran)}.`] : []),
      ...(granted.length > 0 ? [`Granted, and without a known price: ${quotedFew(granted, SHOWN)}.`] : []),
    ];
    if (findings.length === 0) return [ok('Every model that is granted by its id, or has run lately, has a cost.')];
    const consequence =
      unpriced === 'refuse' ? ', and refused where a budget in money is' : ' and in no budget in money';
    return findings.map((finding) => warning(`${finding} They are in no cost${consequence}.`, REMEDY));
  });
}

/** What was asked for at a provider. */
interface CalledModel {
  readonly provider: string;
  readonly wireModel: string;
  readonly calls: number;
  /** Of these, whose cost is not known. */
  readonly unpriced: number;
}

/** @returns those with the most calls without a cost first */
const readCalledModels = (ledger: Connection, since: number): readonly CalledModel[] =>
  ledger
    .prepare<[string], CalledModel>(
      `SELECT provider, wire_model AS wireModel, count(*) AS calls, count(*) - count(cost_nano) AS unpriced FROM usage_request
       WHERE id >= ? AND measured <> 'none' GROUP BY 1, 2 ORDER BY unpriced DESC, 1, 2`,
    )
    .all(firstIdOf(since));

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
       WHERE ${activeCondition(schema.grantActive, 'g')} AND typeof(g.model_id) = 'text' AND g.model_id NOT LIKE '%*'
       ORDER BY 1`,
    )
    .pluck()
    .all()
    .filter((id) => !composites.has(id));
}

const REMEDY =
  'Set what each costs, or that it is free, by the host of its provider: modelgate price set HOST MODEL --input USD --output USD, or --free. Published prices: modelgate price import FILE.';

function listed(models: readonly CalledModel[]): string {
  const some = models.slice(0, SHOWN).map(({ provider, wireModel, unpriced }) => {
    return `${quoted(wireModel)} of ${provider} (${unpriced.toLocaleString('en')})`;
  });
  return `${some.join(', ')}${models.length > SHOWN ? ', …' : ''}`;
}
