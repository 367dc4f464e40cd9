/** What every topic stands on: backend, database, tokens. Made once, when the first topic asks. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mintSession } from '../support/gate/session.ts';
import { startBackend } from './backend.ts';
import { createLargeDatabase, type LargeDatabase } from './large-database.ts';
import { modelList } from './model-list.ts';
import type { PinnedProcess } from './pinned-process.ts';

export interface Bed {
  readonly backend: PinnedProcess;
  /** 100,000 users in 1,000 organizations with 50 grants each, and one user whose organization has every model. */
  readonly database: LargeDatabase;
  readonly userOfAll: string;
  /** A user with 50 of the 300 models. */
  readonly user: string;
  /** What a chat client of this user sends, small. */
  readonly chat: string;
  /** A file with the session tokens of these users, one a line. */
  readonly tokensOf: (users: readonly string[]) => Promise<string>;
}

let made: Promise<Bed> | undefined;

export function bed(): Promise<Bed> {
  made ??= make();
  return made;
}

export async function closeBed(): Promise<void> {
  const { backend, database } = (await made?.catch(() => undefined)) ?? {};
  await backend?.stop();
  database?.close();
}

async function make(): Promise<Bed> {
  const database = createLargeDatabase();
  const ids = Array.from({ length: database.size.models }, (_, index) => database.modelId(index));
  const userOfAll = database.addUser({ id: 'user-of-all' });
  database.addMember('organization-of-all', userOfAll);
  for (const id of ids) database.grant('organization-of-all', id);
  const backend = await startBackend(modelList(ids));
  let files = 0;
  return {
    backend,
    database,
    userOfAll,
    user: database.userId(7),
    chat: chatOf(database.modelId(28)),
    async tokensOf(users) {
      const file = join(database.directory, `tokens-${files++}`);
      const tokens = await Promise.all(users.map((user) => mintSession(user)));
      writeFileSync(file, tokens.join('\n'));
      return file;
    },
  };
}

export const chatOf = (model: string): string =>
  JSON.stringify({
    model,
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: 'Hello! What can you do?' },
    ],
    stream: false,
    temperature: 0.7,
  });
