/** Every endpoint of a provider that the backend calls, and where it names its model. What is not here is refused. */
import type { Dialect } from '../enforcement/answers.ts';

/**
 * `lists` names no model to run. `runs` needs a user. `service` is what the backend runs for itself too: embedding,
 * reranking. `media` has a name space of its own.
 */
type EndpointKind = 'lists' | 'runs' | 'service' | 'media';

export interface Endpoint {
  /** As metrics show it. */
  readonly name: string;
  readonly kind: EndpointKind;
  readonly dialect: Dialect;
  /** Where the body may be a form (`multipart/form-data`). */
  readonly isForm: boolean;
  /** Keys beside `model` that name one at the top of the body. */
  readonly topLevel: ReadonlySet<string>;
}

interface EndpointMatch {
  /** Undefined where the endpoint is not one that is judged. */
  readonly endpoint: Endpoint | undefined;
  /** Behind base and version. */
  readonly name: string;
  /** Azure names the model in the path. */
  readonly modelInPath: string | undefined;
}

type Row = readonly [methods: string, names: string, kind: EndpointKind, dialect: Dialect, form?: 'form'];

/** Sources: routers/openai.py, ollama.py, audio.py, images.py, retrieval/utils.py (0.6.18 and 0.12.4). */
const ROWS: readonly Row[] = [
  ['GET', 'models', 'lists', 'openai'],
  ['GET', 'api/tags api/ps api/version', 'lists', 'ollama'],
  ['POST', 'chat/completions completions responses', 'runs', 'openai'],
  ['POST', 'messages messages/count_tokens', 'runs', 'anthropic'],
  ['POST', 'api/chat api/generate api/show', 'runs', 'ollama'],
  ['POST', 'embeddings rerank', 'service', 'openai'],
  ['POST', 'api/embed api/embeddings', 'service', 'ollama'],
  ['POST', 'audio/speech images/generations', 'media', 'openai'],
  ['POST', 'audio/transcriptions audio/translations images/edits images/variations', 'media', 'openai', 'form'],
];

const NO_KEYS: ReadonlySet<string> = new Set();
/** Ollama takes `name` for `model` (api/types.go `ShowRequest` and kin). */
const OLLAMA_KEYS: ReadonlySet<string> = new Set(['name']);

const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map(
  ROWS.flatMap(([method, names, kind, dialect, form]) =>
    names.split(' ').map((name) => {
      const topLevel = dialect === 'ollama' ? OLLAMA_KEYS : NO_KEYS;
      return [`${method} ${name}`, { name, kind, dialect, isForm: form === 'form', topLevel }] as const;
    }),
  ),
);

/** A provider's base may end before its version. */
const VERSION = /^\/(?:(?:api|openai)\/)?v\d+(?=\/)/;
const DEPLOYMENT = /^\/openai\/deployments\/([^/]+)(?=\/)/;
const ONE_MODEL = /^\/models\/[^/]+(?:\/[^/]+)*$/;

/** @param path behind the provider's base */
export function matchEndpoint(method: string, path: string): EndpointMatch {
  const modelInPath = DEPLOYMENT.exec(path)?.[1];
  const rest = path.replace(modelInPath === undefined ? VERSION : DEPLOYMENT, '');
  const name = ONE_MODEL.test(rest) ? 'models' : rest.slice(1);
  return { endpoint: ENDPOINTS.get(`${method} ${name}`), name, modelInPath };
}

/** In what form a refusal is read where no endpoint was found. */
export const dialectOfPath = (path: string): Dialect =>
  path.startsWith('/api/') && !VERSION.test(path) ? 'ollama' : /\/messages(?:\/|$)/.test(path) ? 'anthropic' : 'openai';
