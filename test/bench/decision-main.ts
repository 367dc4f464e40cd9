/** Times decisions on a database of `large-database.ts`: `decision-main.ts PATH USERS`. Prints `DecisionTimes`. */
import { type UserPrincipal, toUserId } from '../../src/policy/principal.ts';
import { decide } from '../../src/policy/decide.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { type Store, createStore } from '../../src/store/store.ts';
import { median, quantile } from './measurement.ts';
import type { DecisionTimes } from './decision.ts';

const ORGANIZATIONS = 1_000;
const GROUP = 100;
const [databasePath = '', users = '0'] = process.argv.slice(2);

const openStore = (): Promise<Store> =>
  createStore({ database: { engine: 'sqlite', path: databasePath }, autoEnroll: false, warn: () => undefined });
const userId = (index: number) => toUserId(`${index.toString(16).padStart(8, '0')}-4b1d-4c3e-9f00-000000000000`);
const modelId = (index: number) => `provider-${index % 12}/model-${index}:latest` as ModelId;

/** All that a request asks: is the file unchanged, who is it, and may they. A promise only where something must be loaded. */
function decideFor(store: Store, user: number, model: number): Effect | Promise<Effect> {
  const principal: UserPrincipal = { kind: 'user', id: userId(user), role: 'user' };
  const id = modelId(model);
  return store.ask(
    () => {
      const view = store.current();
      const known = view.user(principal.id);
      return known === undefined ? 'unknown' : decide(view, known, id, { adminAccess: 'organization' }).effect;
    },
    { user: principal, models: () => [id] },
  );
}

type Effect = 'permit' | 'deny' | 'unknown';

/** Every user of another organization, each seen for the first time: role, memberships and 50 grants are read. */
async function timeCold(round: number): Promise<number[]> {
  const store = await openStore();
  const times: number[] = [];
  for (let organization = 0; organization < ORGANIZATIONS; organization += 1) {
    const user = (organization + round * ORGANIZATIONS) % Number(users);
    const startedAt = performance.now();
    const effect = await decideFor(store, user, (organization + 25) % 300);
    times.push((performance.now() - startedAt) * 1_000);
    if (effect !== 'permit') throw new Error(`user ${user} should be permitted`);
  }
  await store.close();
  return times;
}

/** In groups, since one is shorter than the clock can tell; one look at the file for each group. */
async function timeWarm(): Promise<number[]> {
  const store = await openStore();
  const times: number[] = [];
  for (let sample = 0; sample < 3_000; sample += 1) {
    const startedAt = performance.now();
    for (let call = 0; call < GROUP; call += 1) {
      const effect = decideFor(store, (sample + call * 7) % 1_000, call % 300);
      if (effect instanceof Promise) await effect;
    }
    times.push(((performance.now() - startedAt) * 1_000) / GROUP);
  }
  await store.close();
  return times.slice(1_000);
}

await timeCold(0);
const cold = [...(await timeCold(1)), ...(await timeCold(2)), ...(await timeCold(3))];
const times: DecisionTimes = {
  warm: median(await timeWarm()),
  coldP50: median(cold),
  coldP95: quantile(cold, 0.95),
  coldSamples: cold.length,
};
process.stdout.write(JSON.stringify(times));
