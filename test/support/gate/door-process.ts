/** A gate with a provider door in a process of its own, and calls as the backend makes them. */
import type { TestDatabase } from '../database/database.ts';
import { type ServingProcess, serveModelgate } from './gate-process.ts';
import { ACCESS_KEY } from './provider-door.ts';
import { TEST_SECRET } from './session.ts';

export interface ServingDoor extends ServingProcess {
  /** What the backend has as the base URL of its connection. */
  readonly base: string;
}

/** Its ledger is `usage.db` beside the file, or in the database of the URL. @param provider whose address has a path, as providers' have */
export async function serveDoor(
  database: Pick<TestDatabase, 'path' | 'directory'> | { readonly url: string },
  provider: { readonly url: string },
  settings: Record<string, string> = {},
): Promise<ServingDoor> {
  const gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
    ...('url' in database
      ? { DATABASE_URL: database.url }
      : { DATABASE_URL: `sqlite:///${database.path}`, MODELGATE_STATE_DIR: database.directory }),
    WEBUI_SECRET_KEY: TEST_SECRET,
    MODELGATE_PROVIDER_HOST: '127.0.0.1',
    MODELGATE_PROVIDER_PORT: '0',
    MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
    MODELGATE_PROVIDERS: provider.url,
    ...settings,
  });
  const { provider_url: url } = await gate.line('modelgate listens');
  return Object.assign(gate, { base: `${String(url)}/${provider.url.replace('http://', '')}` });
}

/** @param body an object, or the text itself */
export const chatAs = (base: string, user: string, body: object | string): Promise<Response> =>
  fetch(`${base}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ACCESS_KEY}`,
      'content-type': 'application/json',
      'x-openwebui-user-id': user,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
