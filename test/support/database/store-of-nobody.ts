/** Run as a process without rights to write: opens a store on a file and tells what it sees. */
import { GatewayError } from '../../../src/errors.ts';
import { type UserPrincipal, toUserId } from '../../../src/policy/principal.ts';
import { createStore } from '../../../src/store/store.ts';
import { patterns } from './opened-store.ts';

const store = await createStore({
  // on a busy machine another thread may take its time
  deadlineMs: 10_000,
  databasePath: process.argv[2] ?? '',
  autoEnroll: true,
  organization: { id: 'acme', name: 'Acme' },
  warn: () => undefined,
});

async function grants(): Promise<string[]> {
  try {
    const user: UserPrincipal = { kind: 'user', id: toUserId('ada'), role: 'user' };
    return await store.ask(() => patterns(store.current().grantsOf(user)), { user });
  } catch (error) {
    return [error instanceof GatewayError ? error.code : String(error)];
  }
}

console.log(JSON.stringify({ grants: await grants(), health: await store.health() }));
await store.close();
