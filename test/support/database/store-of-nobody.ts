/** Run as a process without rights to write: opens a store on a file and tells what it sees. */
import { GatewayError } from '../../../src/errors.ts';
import { type UserPrincipal, toOrganizationId, toUserId } from '../../../src/policy/principal.ts';
import { createStore } from '../../../src/store/store.ts';
import type { StoreView } from '../../../src/store/store-view.ts';
import { patterns } from './opened-store.ts';

const store = await createStore({
  // on a busy machine another thread may take its time
  deadlineMs: 10_000,
  database: { engine: 'sqlite', path: process.argv[2] ?? '' },
  autoEnroll: true,
  organization: { id: 'acme', name: 'Acme' },
  warn: () => undefined,
});

const user: UserPrincipal = { kind: 'user', id: toUserId('ada'), role: 'user' };
const acme = toOrganizationId('acme');

async function seen<T>(question: (view: StoreView) => readonly T[]): Promise<readonly (T | string)[]> {
  try {
    return await store.ask(() => question(store.current()), { user });
  } catch (error) {
    return [error instanceof GatewayError ? error.code : String(error)];
  }
}

const grants = await seen((view) => patterns(view.grantsOf(user)));
const budgets = await seen((view) => view.budgetsOf(acme));
console.log(JSON.stringify({ grants, budgets, health: await store.health() }));
await store.close();
