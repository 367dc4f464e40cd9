/** `modelgate usage reconcile`: asks providers what calls have cost. */
import { Option } from '@commander-js/extra-typings';
import type { Config } from '../../config/schema.ts';
import { connectProviders } from '../../provider-door/door.ts';
import { createOwnKeys } from '../../provider-door/provider-key.ts';
import { createLookup } from '../../provider-door/reconcile.ts';
import { createStore } from '../../store/store.ts';
import { prepareSealedKey } from '../../usage/keys.ts';
import { type FoundUsage, type GenerationRow, differs, readGenerations, resolving } from '../../usage/generations.ts';
import { inUsd } from '../../usage/money.ts';
import { environmentWith } from '../database.ts';
import { movingLedger, readingLedger } from '../ledger.ts';
import { requireConfig, toDuration, usageCommand } from '../options.ts';
import { counted, tableOf } from '../report.ts';
import { type Terminal, CommandFailure, misused } from '../terminal.ts';
import { DATABASE } from './ledger-options.ts';

const AT_ONCE = 10;

export const addReconcile = usageCommand(
  'reconcile',
  `ask providers what calls have cost, and show what differs from the ledger
Of calls with an id that the provider can be asked for, as OpenRouter gives it. Calls that were cut are settled with what it says, as a running gate does by itself; what differs of others is shown and stays, with exit code 1. Takes the settings of the gate, and each organization's own key.
$ modelgate usage reconcile --since 1h
$ modelgate usage reconcile --since 31d --json`,
  (command) =>
    command
      .addOption(
        new Option('--since <time>', 'calls that began so long ago or later')
          .argParser(toDuration)
          .default(3_600_000, '1h'),
      )
      .addOption(DATABASE),
  async ({ since, database, config: file }, { ledger, terminal }) => {
    const { config } = requireConfig({ ...terminal, environment: environmentWith(terminal, database) }, file);
    const { provider } = config;
    if (provider === undefined) {
      throw misused(
        'These settings have no provider door: set MODELGATE_PROVIDER_PORT and the others as the gate has them.',
      );
    }
    const rows = await readingLedger(ledger, (connection) => readGenerations(connection, Date.now() - since));
    const sealedKeyOf = (...of: [organization: string, host: string]) =>
      readingLedger(ledger, (connection) => prepareSealedKey(connection)(...of) ?? null);
    const found = await askingProviders(config, provider, { sealedKeyOf }, (lookUp) => askAll(rows, lookUp, terminal));
    const cut = found.filter(({ row }) => row.state === 'interrupted');
    const settle = () => movingLedger(ledger, (book) => resolving(book, cut));
    const settled = cut.length === 0 ? 0 : (await settle()).filter(Boolean).length;
    const different = found.filter(({ row, usage }) => row.state === 'closed' && differs(row, usage));
    const calls = different.map(recordOf);
    const unknown = rows.length - found.length;
    return {
      record: { asked: rows.length, unknown, settled, calls },
      parts: [
        `Asked for ${counted(rows.length, 'call')}: ${calls.length} differ, ${unknown} not known to the provider; ${settled} that were cut are settled now.`,
        ...(calls.length === 0 ? [] : [tableOf(calls, COLUMNS)]),
      ],
      failed: calls.length > 0,
    };
  },
);

type LookUp = ReturnType<typeof createLookup>;

/** With the keys and in the way of a running gate. @returns what `work` does @throws what it throws */
async function askingProviders<T>(
  config: Config,
  provider: NonNullable<Config['provider']>,
  ledger: Parameters<typeof createOwnKeys>[0]['ledger'],
  work: (lookUp: LookUp) => Promise<T>,
): Promise<T> {
  const store = await createStore({
    database: config.database,
    autoEnroll: false,
    warn: () => undefined,
  });
  const providers = connectProviders(config, provider);
  try {
    const ownKeyOf = createOwnKeys({ store, ...provider, keysSecret: config.keysSecret, ledger });
    return await work(createLookup({ providers, ownKeyOf }));
  } finally {
    await Promise.all([store.close(), ...providers.map(({ upstream }) => upstream.close())]);
  }
}

/** @returns those that the provider knows @throws CommandFailure after Ctrl-C */
async function askAll(rows: readonly GenerationRow[], lookUp: LookUp, { stop }: Terminal) {
  const found: FoundUsage[] = [];
  for (let at = 0; at < rows.length; at += AT_ONCE) {
    if (stop.aborted) throw new CommandFailure('Stopped. Nothing was changed.');
    const some = rows.slice(at, at + AT_ONCE);
    const answers = await Promise.all(some.map((row) => lookUp(row, row.generationId)));
    some.forEach((row, index) => {
      const usage = answers[index];
      if (usage !== undefined) found.push({ row, usage });
    });
  }
  return found;
}

const recordOf = ({ row, usage: { input, output, costNano } }: FoundUsage) => ({
  ...{ id: row.id, started_at: new Date(row.startedAt).toISOString(), organization: row.organization },
  ...{ provider: row.provider, model: row.model, generation: row.generationId },
  ...{ input: row.input, provider_input: input ?? null, output: row.output, provider_output: output ?? null },
  ...{ cost_usd: usd(row.costNano), provider_cost_usd: usd(costNano) },
});

const usd = (nano: number | null | undefined): string | null =>
  nano === null || nano === undefined ? null : inUsd(BigInt(nano));

const COLUMNS = {
  started: 'started_at',
  organization: 'organization',
  model: 'model',
  generation: 'generation',
  input: 'input',
  'their input': 'provider_input',
  output: 'output',
  'their output': 'provider_output',
  cost_usd: 'cost_usd',
  their_cost_usd: 'provider_cost_usd',
} as const;
