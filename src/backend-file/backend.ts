/** Asks the running backend, as one of its admins. Every way in which that can fail is one sentence. */
import { tryParseJson, isObject } from '../references/json.ts';
import type { Connection } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import { unreachableBecause } from '../transport/upstream.ts';
import { OperationFailure, unchanged } from './failure.ts';
import { quoted } from './text.ts';

export interface BackendAccess {
  /** Scheme, host and port. */
  readonly url: URL;
  /** An API key or the token of a session. Never part of a sentence. */
  readonly credential: string;
  readonly signal: AbortSignal;
}

/** Providers are asked while we wait, and the backend gives each of them 10 s (AIOHTTP_CLIENT_TIMEOUT_MODEL_LIST). */
const LONGEST_MS = 60_000;
const MOST_BYTES = 64 * 1024 * 1024;

/**
 * @param path below the backend's address
 * @returns the answer, parsed
 * @throws OperationFailure where there is none, or no JSON, or a refusal
 */
export async function askBackend(access: BackendAccess, path: string): Promise<unknown> {
  const { url, credential, signal } = access;
  const target = new URL(path, url);
  const shown = quoted(target.origin);
  try {
    const response = await fetch(target, {
      headers: { authorization: `Bearer ${credential}`, accept: 'application/json' },
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(LONGEST_MS)]),
    });
    return await readAnswer(response, { path, shown, credential });
  } catch (error) {
    if (error instanceof OperationFailure) throw error;
    if (signal.aborted) throw new OperationFailure('Stopped before anything was changed.');
    throw unchanged(reasonOf(error, shown), '', { cause: error });
  }
}

interface Asked {
  readonly path: string;
  readonly shown: string;
  readonly credential: string;
}

async function readAnswer(response: Response, asked: Asked): Promise<unknown> {
  const { path, shown } = asked;
  const { status } = response;
  if (status >= 300 && status < 400) {
    await response.body?.cancel();
    const to = response.headers.get('location');
    throw unchanged(
      `${shown} sends ${path} on${to === null ? '' : ` to ${quoted(hide(asked, to))}`}, and a token is not carried after it.`,
      'Name the address of the backend itself with --url.',
    );
  }
  const text = await readText(response, shown);
  if (!response.ok) throw refusal(status, asked, detailOf(text));
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const kind = response.headers.get('content-type')?.split(';')[0] ?? 'no type at all';
    throw unchanged(
      `${shown} answers ${path} with ${/html/i.test(kind) ? 'a web page' : quoted(kind)} where a list was expected.`,
      IS_IT_THERE,
      { cause: error },
    );
  }
}

async function readText(response: Response, shown: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body: AsyncIterable<Uint8Array> | undefined = response.body ?? undefined;
  if (body === undefined) return '';
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MOST_BYTES) throw unchanged(`${shown} answers with more than 64 MB.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const IS_IT_THERE = "Is it the address of Open WebUI's backend?";

function refusal(status: number, asked: Asked, detail: string | undefined): OperationFailure {
  const { path, shown } = asked;
  const said = detail === undefined ? '' : `, ${quoted(hide(asked, detail))}`;
  const remedy = REMEDIES[status] ?? (status >= 500 ? 'Look into the log of the backend.' : '');
  return unchanged(`${shown} answers ${path} with ${status}${said}.`, remedy);
}

const REMEDIES: Readonly<Record<number, string>> = {
  401: 'The token is wrong, expired or revoked, or it is not one of an admin.',
  403: 'The token is not one of an admin, or API keys are switched off or kept from this endpoint in the backend; the token of a session always works.',
  404: IS_IT_THERE,
};

/** The backend may say what it was sent. */
const hide = ({ credential }: Asked, text: string): string => text.replaceAll(credential, '…');

/** @param text an answer of the backend @returns what FastAPI's `{"detail": "…"}` says, undefined for anything else */
export function detailOf(text: string): string | undefined {
  try {
    const answer = JSON.parse(text) as unknown;
    const detail = typeof answer === 'object' && answer !== null && 'detail' in answer ? answer.detail : undefined;
    return typeof detail === 'string' ? detail : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown, shown: string): string {
  if (error instanceof Error && error.name === 'TimeoutError') {
    return `${shown} has not answered within ${LONGEST_MS / 1000} s.`;
  }
  return `${shown} ${unreachableBecause(error)}.`;
}

// The backend's own settings as its file holds them: one document up to 0.9, one row a key from 0.10.0. What is not
// there is a default or comes from the backend's environment, and cannot be told apart.

export type SettingKey =
  | `${'openai' | 'ollama'}.${'enable' | 'api_configs'}`
  | 'openai.api_base_urls'
  | 'ollama.base_urls'
  | 'evaluation.arena.models';

/** @returns a function that reads one setting, undefined where it is not stored; of the documents the newest counts */
export function createSettings(connection: Connection, { config }: Schema): (key: SettingKey) => unknown {
  if (config === 'none') return () => undefined;
  const statement = connection
    .prepare<[string]>(
      config === 'rows'
        ? 'SELECT value FROM config WHERE "key" = ?'
        : // `->` and not json_extract, which would give `false` and `0` alike
          "SELECT data -> ('$.' || ?) FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1",
    )
    .pluck();
  return (key) => {
    const stored = statement.get(key);
    return typeof stored === 'string' ? tryParseJson(stored) : undefined;
  };
}

/** @returns the texts of a list, and nothing of anything else */
export const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

/** @returns the ids of `[{"id": "…"}, …]`, and nothing of anything else */
export const idsOf = (models: unknown): readonly string[] =>
  textsOf(Array.isArray(models) ? models.filter(isObject).map(({ id }) => id) : undefined);
