/** A person known to a backend, and the address that the person's requests go to (the backend's or the gate's). */
export interface Account {
  url: string;
  id: string;
  name: string;
  email: string;
  password: string;
  role: string;
  /** The session's JWT. */
  token: string;
}

export interface Person {
  name: string;
  email: string;
  password?: string;
}

interface Session {
  id: string;
  role: string;
  token: string;
}

/** The backend answered with something else than success. */
export class BackendAnswerError extends Error {
  override readonly name = 'BackendAnswerError';
  readonly status: number;
  readonly body: string;

  constructor(what: string, status: number, body: string) {
    super(`${what} was answered with ${status}: ${body.slice(0, 500)}`);
    this.status = status;
    this.body = body;
  }
}

const PASSWORD = 'Correct-horse-7';
const DEADLINE_MS = 90_000;

/** Sends a request as `account` (or without one) and gives the raw answer, whatever its status. */
export async function send(
  account: Pick<Account, 'url'> & Partial<Pick<Account, 'token'>>,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> {
  const headers = new Headers();
  if (account.token !== undefined) headers.set('authorization', `Bearer ${account.token}`);
  if (body !== undefined) headers.set('content-type', 'application/json');
  const init: RequestInit = { method, headers, signal: AbortSignal.timeout(DEADLINE_MS) };
  if (body !== undefined) init.body = JSON.stringify(body);
  return fetch(`${account.url}${path}`, init);
}

/** Sends a request that must succeed and gives the parsed answer; the caller names its shape. */
export async function call(
  account: Pick<Account, 'url'> & Partial<Pick<Account, 'token'>>,
  method: string,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const response = await send(account, method, path, body);
  const text = await response.text();
  if (!response.ok) throw new BackendAnswerError(`${method} ${path}`, response.status, text);
  return JSON.parse(text) as unknown;
}

/** The same person with another address: `through(alice, gate.url)`. */
export function through(account: Account, url: string): Account {
  return { ...account, url };
}

/** `POST /api/v1/auths/signup`. The first person of an empty backend becomes its admin, and signing up closes. */
export async function signUp(url: string, { name, email, password = PASSWORD }: Person): Promise<Account> {
  const session = (await call({ url }, 'POST', '/api/v1/auths/signup', { name, email, password })) as Session;
  return { url, name, email, password, id: session.id, role: session.role, token: session.token };
}

/** `POST /api/v1/auths/signin`: a new session. */
export async function signIn(url: string, { name, email, password = PASSWORD }: Person): Promise<Account> {
  const session = (await call({ url }, 'POST', '/api/v1/auths/signin', { email, password })) as Session;
  return { url, name, email, password, id: session.id, role: session.role, token: session.token };
}

/** Changes settings of the admin panel's first page (`/api/v1/auths/admin/config`), the others stay. */
export async function changeAdminConfig(admin: Account, changes: Record<string, unknown>): Promise<void> {
  const config = (await call(admin, 'GET', '/api/v1/auths/admin/config')) as Record<string, unknown>;
  await call(admin, 'POST', '/api/v1/auths/admin/config', { ...config, ...changes });
}

/** Opens signing up again, which the backend closes after its first user (0.6.18 and 0.12.4). */
export async function openSignUp(admin: Account): Promise<void> {
  await changeAdminConfig(admin, { ENABLE_SIGNUP: true, DEFAULT_USER_ROLE: 'user' });
}

/** `POST /api/v1/auths/add` by an admin, then a session of the new person. */
export async function addUser(admin: Account, person: Person, role = 'user'): Promise<Account> {
  const { name, email, password = PASSWORD } = person;
  await call(admin, 'POST', '/api/v1/auths/add', { name, email, password, role });
  return signIn(admin.url, person);
}

/** `POST /api/v1/auths/api_key`: an `sk-` key, which replaces the account's earlier one. */
export async function createApiKey(account: Account): Promise<string> {
  return ((await call(account, 'POST', '/api/v1/auths/api_key')) as { api_key: string }).api_key;
}

/** The ids of `GET /api/models`. */
export async function listModelIds(account: Account, path = '/api/models'): Promise<string[]> {
  const { data } = (await call(account, 'GET', path)) as { data: { id: string }[] };
  return data.map((model) => model.id);
}
