/** `modelgate price list`, `set` and `remove`: what models cost. */
import { InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { quoted, quotedFew, shellCommand } from '../../backend-file/text.ts';
import { nearest } from '../../nearest.ts';
import { type Price, PLAUSIBLE, isPlausible, shifted } from '../../usage/price.ts';
import { endPrice, listPrices, setPrice } from '../../usage/price-changes.ts';
import type { PriceRow } from '../../usage/price-table.ts';
import { changingLedger, readingLedger } from '../ledger.ts';
import { groupOf, usageCommand } from '../options.ts';
import { type Cell, tableOf } from '../report.ts';
import { CommandFailure, misused } from '../terminal.ts';
import { toPattern } from './ledger-options.ts';
import { addImport } from './price-import.ts';

const PROVIDER = 'host of the provider as in MODELGATE_PROVIDERS, such as openrouter.ai or ollama:11434';
const MODEL = 'id as the provider is asked for it; a * at the end stands for every id with this beginning';

const addList = usageCommand(
  'list',
  `list prices: those that hold, and those to come
Of several for one model the operator's counts (of the model, then of the longest beginning), then that of the provider's own list, then an imported one.
$ modelgate price list
$ modelgate price list --provider openrouter.ai --model 'openai/*'`,
  (command) =>
    command
      .option('--provider <host>', 'only of this provider, with what is imported for it', toHost)
      .option('--model <id>', 'only what is about this model; a * at the end stands for every id with this beginning'),
  async (options, { ledger }) => {
    const rows = await readingLedger(ledger, (connection) => listPrices(connection, options, Date.now()));
    const prices = rows.map(recordOf);
    const table = tableOf(prices, {
      ...({ provider: 'provider', model: 'model' } as const),
      input: (row) => (row.free ? 'free' : usd(row.input_per_million)),
      cached: (row) => usd(row.cached_per_million),
      'cache write': (row) => usd(row.cache_write_per_million),
      output: (row) => usd(row.output_per_million),
      request: (row) => usd(row.per_request),
      ...({ source: 'source' } as const),
      from: ({ from }) => from.slice(0, 10),
    });
    const parts = prices.length === 0 ? [] : [table, 'In USD by the million tokens, a request in USD.'];
    return { record: { prices }, parts, notes: [prices.length === 0 && options.json !== true && NONE] };
  },
);

const NONE = 'There is no such price. To set one: `modelgate price set PROVIDER MODEL --input 0.15 --output 0.60`';

const addSet = usageCommand(
  'set',
  `set what a model costs, in USD by the million tokens
Holds for calls from now on, or from a date; what is counted already keeps its cost. Stands before the provider's own list and imported prices, and after the cost that a provider reports.
$ modelgate price set api.openai.com gpt-4o-mini --input 0.15 --cached 0.075 --output 0.60
$ modelgate price set ollama:11434 '*' --free`,
  (command) =>
    command
      .argument('<provider>', PROVIDER, toHost)
      .argument('<model>', MODEL, toPattern)
      .option('--input <usd>', 'input, also cached input and cache writes without a price of their own', toUsd)
      .option('--cached <usd>', "input from the provider's cache", toUsd)
      .option('--cache-write <usd>', "input written to the provider's cache", toUsd)
      .option('--output <usd>', 'output, with its reasoning', toUsd)
      .option('--request <usd>', 'each call, whatever its tokens', toUsd)
      .addOption(
        new Option('--per <tokens>', 'unit of these prices')
          .choices(['million', 'thousand', 'token'] as const)
          .default('million' as const),
      )
      .option('--from <date>', 'first moment, in UTC: 2026-12-01 or 2026-12-01T09:30Z (default: now)', toTime)
      .addOption(
        new Option('--free', 'costs nothing').conflicts(['input', 'cached', 'cacheWrite', 'output', 'request']),
      ),
  async (provider, model, options, { config, ledger }) => {
    const price = readPrice(options);
    const validFrom = options.from ?? Date.now();
    const wanted = { provider, model, price, validFrom };
    const { outcome, next } = await changingLedger(ledger, (connection) => setPrice(connection, wanted), {
      mayBeNew: true,
    });
    const record = { ...recordOf({ ...wanted, source: 'operator' }), outcome };
    const parts = [
      tableOf([record], { provider: 'provider', model: 'model', result: ({ outcome }) => OUTCOMES[outcome] }),
    ];
    const later = next !== undefined && `From ${toIso(next)} on, a price that was set before takes its place.`;
    return { record, parts, notes: [later, noteOnHost(provider, config.providerHosts)] };
  },
);

/** A price may come before its provider. */
function noteOnHost(provider: string, hosts: readonly string[]) {
  if (hosts.length === 0 || hosts.includes(provider)) return false;
  const meant = nearest(provider, hosts);
  const known = meant === undefined ? `They are ${quotedFew(hosts, 5)}.` : `Did you mean ${quoted(meant)}?`;
  return `${quoted(provider)} is the host of none of MODELGATE_PROVIDERS: no call has this price now. ${known}`;
}

const OUTCOMES = { new: 'set', changed: 'changed', same: 'as it was' } as const;

const addRemove = usageCommand(
  'remove',
  `end a price that was set
Prices to come end with it. Calls that are counted keep their cost, and the provider's own list or an imported price holds again.
$ modelgate price remove ollama:11434 '*'`,
  (command) => command.argument('<provider>', PROVIDER, toHost).argument('<model>', 'as it was set', toPattern),
  async (provider, model, _, { ledger }) => {
    await changingLedger(ledger, (connection) => {
      if (endPrice(connection, { provider, model }, Date.now())) return;
      const own = listPrices(connection, {}, Date.now()).filter(({ source }) => source === 'operator');
      const meant = nearest(
        model,
        own.filter((row) => row.provider === provider).map((row) => row.model),
      );
      const list = shellCommand('modelgate', 'price', 'list', '--provider', provider);
      const hint = meant === undefined ? `To see prices: \`${list}\`` : `Did you mean ${quoted(meant)}?`;
      throw new CommandFailure(
        `No price was set for ${quoted(model)} of ${quoted(provider)}. Nothing was changed. ${hint}`,
      );
    });
    const record = { provider, model, outcome: 'ended' };
    return { record, parts: [tableOf([record], { provider: 'provider', model: 'model', result: 'outcome' })] };
  },
);

export const addPrice = groupOf(
  'price',
  `list, set, remove and import the prices of models
$ modelgate price set api.openai.com gpt-4o-mini --input 0.15 --output 0.60
$ modelgate help price import`,
  ...[addList, addSet, addRemove, addImport],
);

const toIso = (milliseconds: number): string => `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;

function recordOf({ provider, model, source, validFrom, price }: Omit<PriceRow, 'id'>) {
  const perMillion = (usd: number | undefined) => (usd === undefined ? null : shifted(usd, 6));
  return {
    ...{ provider, model, source, from: toIso(validFrom), free: price?.free === true },
    input_per_million: perMillion(price?.input),
    cached_per_million: perMillion(price?.cached),
    cache_write_per_million: perMillion(price?.cacheWrite),
    output_per_million: perMillion(price?.output),
    per_request: price?.request ?? null,
  };
}

/** Such as `0.15`, never `1.5e-1`: a table may hold very small prices. */
const usd = (amount: number | null): Cell =>
  amount?.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: 20, useGrouping: false });

const PLACES = { million: -6, thousand: -3, token: 0 } as const;

type Typed = Readonly<
  Partial<Record<'input' | 'cached' | 'cacheWrite' | 'output' | 'request', number>> & {
    per: keyof typeof PLACES;
    free?: true | undefined;
  }
>;

/** @throws CommandFailure with exit code 2 where it is no whole price, or one that no model has */
function readPrice({ per, free, request, ...tokens }: Typed): Price {
  if (free === true) return { free };
  const { input, output, cached, cacheWrite } = tokens;
  if (input === undefined && output === undefined && request === undefined) {
    throw misused('What does it cost? Give --input and --output, or --request, or --free.');
  }
  if (input === undefined && (cached ?? cacheWrite) !== undefined) {
    throw misused('--cached and --cache-write are parts of the input. Give --input too.');
  }
  const names = { input: '--input', cached: '--cached', cacheWrite: '--cache-write', output: '--output' } as const;
  const byToken = (name: keyof typeof names): number | undefined => {
    const typed = tokens[name];
    if (typed === undefined) return undefined;
    const amount = shifted(typed, PLACES[per]);
    if (isPlausible(amount)) return amount;
    const understood = `${names[name]} was understood as ${usd(amount) ?? ''} USD a token, which is ${usd(shifted(amount, 6)) ?? ''} USD a million tokens`;
    const meant = amount > PLAUSIBLE.most ? '--per million' : '--per token';
    throw misused(`${understood}: no model costs that. Was it meant ${meant}? Nothing was changed.`);
  };
  const amounts = { input: byToken('input'), cached: byToken('cached'), cacheWrite: byToken('cacheWrite') };
  return { ...amounts, output: byToken('output'), request, free: false };
}

function toUsd(text: string): number {
  if (/^(?:\d+\.?\d*|\.\d+)(?:e-?\d{1,3})?$/i.test(text) && Number.isFinite(Number(text))) return Number(text);
  throw new InvalidArgumentError(
    /^-/.test(text)
      ? 'a price is 0 or more.'
      : /^\d+,\d+$/.test(text)
        ? `a decimal point is expected, as in ${text.replace(',', '.')}.`
        : 'expected a price in USD, such as 0.15.',
  );
}

function toTime(text: string): number {
  const time = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?Z)?$/.test(text) ? Date.parse(text) : Number.NaN;
  // the thirtieth of February would be a day of March
  if (!Number.isNaN(time) && new Date(time).toISOString().startsWith(text.slice(0, 10))) return time;
  throw new InvalidArgumentError('expected a date in UTC, such as 2026-12-01 or 2026-12-01T09:30Z.');
}

function toHost(text: string): string {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  const host = url?.host ?? '';
  if (host !== '' && host === text.toLowerCase()) return host;
  throw new InvalidArgumentError(
    `expected the host of a provider${host === '' ? ', such as openrouter.ai' : `: ${host}`}.`,
  );
}
