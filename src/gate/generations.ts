/** Asks providers what single calls have cost, for commands: with the keys and in the way of a running gate. */
import type { Config } from '../config/schema.ts';
import { connectProviders } from '../provider-door/door.ts';
import { createOwnKeys } from '../provider-door/provider-key.ts';
import { createLookup } from '../provider-door/reconcile.ts';
import { createStore } from '../store/store.ts';

type SealedKeyOf = Parameters<typeof createOwnKeys>[0]['ledger']['sealedKeyOf'];

/** @returns what `work` does @throws what it throws */
export async function askingProviders<T>(
  config: Config,
  provider: NonNullable<Config['provider']>,
  sealedKeyOf: SealedKeyOf,
  work: (lookUp: ReturnType<typeof createLookup>) => Promise<T>,
): Promise<T> {
  const store = await createStore({ databasePath: config.database.path, autoEnroll: false, warn: () => undefined });
  const providers = connectProviders(config, provider);
  try {
    const ownKeyOf = createOwnKeys({ store, keysSecret: config.keysSecret, ledger: { sealedKeyOf } });
    return await work(createLookup({ providers, ownKeyOf }));
  } finally {
    await Promise.all([store.close(), ...providers.map(({ upstream }) => upstream.close())]);
  }
}
