/** What operations take from the backend: answers of the running one, and the users that its file holds. */
import { nearest } from '../nearest.ts';
import { tryParseJson, isObject } from '../references/json.ts';
import type { Connection } from '../store/database.ts';
import { unreachableBecause } from '../transport/upstream.ts';
import { OperationFailure, unchanged } from './failure.ts';
import { quoted } from './text.ts';

export interface BackendAccess {
  readonly url: URL;
  /** An API key or the token of a session. Never part of a sentence. */
  readonly credential: string;
  readonly signal: AbortSignal;
}

/** Providers are asked while we wait, and the backend gives each of them 10 s (AIOHTTP_CLIENT_TIMEOUT_MODEL_LIST). */
const LONGEST_MS = 60_000;
const MOST_BYTES = 64 * 1024 * 1024;

const IS_IT_THERE = "Is it the address of Open WebUI's backend?";

const REMEDIES: Readonly<Record<number, string>> = {
  401: 'The token is wrong, expired or revoked, or it is not one of an admin.',
  403: 'The token is not one of an admin, or API keys are switched off or kept from this endpoint in the backend; the token of a session always works.',
  404: IS_IT_THERE,
};

/** Asks the running backend, as one of its admins. @throws OperationFailure where it gives no answer, no JSON, or a refusal */
export async function askBackend({ url, credential, signal }: BackendAccess, path: string): Promise<unknown> {
  const target = new URL(path, url);
  const shown = quoted(target.origin);
  // the backend may say what it was sent
  const hide = (text: string): string => quoted(text.replaceAll(credential, '…'));
  try {
    const response = await fetch(target, {
      headers: { authorization: `Bearer ${credential}`, accept: 'application/json' },
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(LONGEST_MS)]),
    });
    const { status, headers } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      const to = headers.get('location');
      const where = to === null ? '' : ` to ${hide(to)}`;
      const finding = `${shown} sends ${path} on${where}, and a token is not carried after it.`;
      throw unchanged(finding, 'Name the address of the backend itself with --url.');
    }
    const text = await readText(response, shown);
    if (!response.ok) {
      const detail = detailOf(text);
      const remedy = REMEDIES[status] ?? (status >= 500 ? 'Look into the log of the backend.' : '');
      const said = detail === undefined ? '' : `, ${hide(detail)}`;
      throw unchanged(`${shown} answers ${path} with ${status}${said}.`, remedy);
    }
    const kind = headers.get('content-type')?.split(';')[0] ?? 'no type at all';
    const answer = tryParseJson(text);
    if (answer !== undefined) return answer;
    const what = /html/i.test(kind) ? 'a web page' : quoted(kind);
    throw unchanged(`${shown} answers ${path} with ${what} where a list was expected.`, IS_IT_THERE);
  } catch (error) {
    if (error instanceof OperationFailure) throw error;
    if (signal.aborted) throw new OperationFailure('Stopped before anything was changed.');
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    const reason = isLate ? `has not answered within ${LONGEST_MS / 1000} s` : unreachableBecause(error);
    throw unchanged(`${shown} ${reason}.`, '', { cause: error });
  }
}

async function readText({ body }: Response, shown: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MOST_BYTES) throw unchanged(`${shown} answers with more than 64 MB.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** @param text an answer of the backend @returns what FastAPI's `{"detail": "…"}` says, undefined for anything else */
export function detailOf(text: string): string | undefined {
  const answer = tryParseJson(text);
  return isObject(answer) && typeof answer['detail'] === 'string' ? answer['detail'] : undefined;
}

export type Person = Readonly<Record<'id', string> & Record<'email' | 'name' | 'role', string | null>>;

/** @returns the user of this id or e-mail address @throws OperationFailure where there is none, or several */
export function requirePerson(connection: Connection, idOrEmail: string): Person {
  const [person, ...others] = findPeople(connection, [idOrEmail]).get(idOrEmail) ?? [];
  if (person === undefined) throw new OperationFailure(unknownPerson(connection, idOrEmail), { code: 'no_such_user' });
  if (others.length === 0) return person;
  throw new OperationFailure(severalPeople(idOrEmail));
}

/** @returns a sentence or two: no user has this id or address, and who may be meant */
export function unknownPerson(connection: Connection, typed: string): string {
  const addresses = connection.prepare<[], string>(`SELECT email FROM "user" WHERE typeof(email) = 'text'`).pluck();
  const meant = nearest(typed, addresses.iterate());
  const hint = meant === undefined ? '' : ` Did you mean ${meant}?`;
  return `The backend knows no user with the id or e-mail address ${quoted(typed)}.${hint}`;
}

export const severalPeople = (typed: string): string =>
  `Several users have the e-mail address ${quoted(typed)}: give the id of one.`;

const BY_ID_OR_ADDRESS = `
  WITH asked AS MATERIALIZED (SELECT DISTINCT value AS named FROM json_each(?)),
    addresses AS MATERIALIZED (
      SELECT named, lower(named) AS address FROM asked WHERE NOT EXISTS (SELECT 1 FROM "user" WHERE id = named))
  SELECT named, id, email, name, role FROM asked JOIN "user" ON id = named
  UNION ALL SELECT named, id, email, name, role FROM "user" CROSS JOIN addresses ON address = lower(email)`;

/** @returns by name the user of this id, else those of this e-mail address in any letter case */
export function findPeople(connection: Connection, named: readonly string[]) {
  const found = connection.prepare<[string], Person & { readonly named: string }>(BY_ID_OR_ADDRESS);
  return Map.groupBy(found.all(JSON.stringify(named)), (person) => person.named);
}
