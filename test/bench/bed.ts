/** What every topic stands on: backend, database, tokens. Made once, when the first topic asks. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestDatabase } from '../support/database.ts';
import { mintSession } from '../support/session.ts';
import { startBackend } from './backend.ts';
import { createLargeDatabase, grantOf, USER_OF_ALL, userOf } from './large-database.ts';
import { modelList } from './model-list.ts';
import type { PinnedProcess } from './pinned-process.ts';

export interface Bed {
  readonly backend: PinnedProcess;
  readonly database: TestDatabase;
  /** A file with the session tokens of these users, one a line. */
  tokensOf(users: readonly string[]): Promise<string>;
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
  const backend = await startBackend(modelList());
  const database = createLargeDatabase();
  let files = 0;
  return {
    backend,
    database,
    async tokensOf(users) {
      const file = join(database.directory, `tokens-${files++}`);
      const tokens = await Promise.all(users.map((user) => mintSession(user)));
      writeFileSync(file, tokens.join('\n'));
      return file;
    },
  };
}

export const ONE_USER = [userOf(7)];
export const THE_USER_OF_ALL = [USER_OF_ALL];

/** What a chat client sends, small: a model that the user of `ONE_USER` has. */
export const CHAT = JSON.stringify({
  model: grantOf(7, 21),
  messages: [
    { role: 'system', content: 'You are a helpful assistant.' },
    { role: 'user', content: 'Hello! What can you do?' },
  ],
  stream: false,
  temperature: 0.7,
});
