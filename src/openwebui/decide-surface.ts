/** From a request to a decision: who may come here at all, what has to be read, and which judge looks at it. */
import type { IncomingMessage } from 'node:http';
import {
  type Decide,
  type RecordReader,
  type RecordReaderParts,
  createRecordReader,
} from '../enforcement/authorize.ts';
import type { Judge } from '../enforcement/judge.ts';
import { GatewayError } from '../errors.ts';
import type { Scope } from '../gate/scope.ts';
import type { Principal, UserPrincipal } from '../identity/principal.ts';
import { type Decision, type Deny, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import type { ChatForm, PresetForm } from '../references/records.ts';
import { type References, namesModels } from '../references/references.ts';
import type { Store, StoreView } from '../store/store-view.ts';
import type { ChatOrder } from './chat-order.ts';
import { judgeInvocation } from './invocations.ts';
import { judgePreset } from './presets.ts';
import { type Judging, judgeDeletion, judgeSave } from './saved-chats.ts';
import { queryValue } from './target.ts';

interface SurfaceDeciderParts extends RecordReaderParts {
  readonly store: Pick<Store, 'ask' | 'current' | 'load' | 'stored'>;
  readonly judge: Judge;
  readonly order: ChatOrder;
}

/** @returns what decides a request by the surface that it came to */
export function createSurfaceDecider(parts: SurfaceDeciderParts): Decide {
  const { store, judge, order } = parts;
  const recordOf = createRecordReader(parts);

  return async function decideSurface(scope) {
    const { surface, principal } = scope;
    // An earlier attempt may have begun a save, of which nothing was sent
    scope.endSave?.(true);
    scope.endSave = undefined;
    if (surface.kind === 'neutral') return surface.unlisted === true ? decideUnlisted(scope) : undefined;
    if (surface.kind === 'lists' && surface.public === true) return undefined;
    if (principal.kind !== 'user') return refuseNoUser(principal);
    const judging: Judging = { judge, order, store, user: principal };
    switch (surface.kind) {
      case 'refused':
        if (principal.role !== 'admin') {
          // a denial is counted for the user's organizations
          await store.load({ user: principal });
          return deny('path_unlisted');
        }
        return surface.judged === true ? decidePassthrough(recordOf, judging, scope) : undefined;
      case 'lists':
        // Without policy a list is refused, not shown empty: only then does the client ask again
        store.current();
        return undefined;
      case 'manages':
        // The backend's admins manage what exists
        return principal.role === 'admin' ? undefined : decidePreset(recordOf, judging, scope, surface.form);
      case 'saves':
        return decideSavedChat(recordOf, judging, scope, surface.form);
      case 'invokes': {
        const { rules, mentions = false, modelRequired } = surface;
        const record = await recordOf(scope, { kind: 'invocation', rules, mentions, mayBeEmpty: !modelRequired });
        const named = () => [...record.references.models, ...record.mentioned.map(({ text }) => text as ModelId)];
        return timed(scope, judging, () => judgeInvocation(judging, surface, scope, record), named);
      }
    }
  };

  /** A path under `/api` that no table lists: only the JSON that it carries is searched for models. */
  async function decideUnlisted(scope: Scope) {
    if (!hasBody(scope.incoming)) return undefined;
    // What a new route means by a key that cannot be read is not known
    const references = await recordOf(scope, { kind: 'any' });
    if (references === undefined || references.models.size === 0) return undefined;
    if (scope.principal.kind !== 'user') return refuseNoUser(scope.principal);
    const { principal: user } = scope;
    return store.ask(
      () => judge.all(store.current(), user, references.models),
      judge.needs(user, () => references.models),
    );
  }
}

async function decidePreset(recordOf: RecordReader, judging: Judging, scope: Scope, form: PresetForm) {
  const { judge, store, user } = judging;
  const queryId = queryValue(scope.query, 'id');
  const record = await recordOf(scope, { kind: 'presets', form, mayBeEmpty: form === 'preset_switch', queryId });
  const named = () => record?.flatMap((row) => [...row.named, ...row.ids]) ?? [];
  return timed(scope, judging, () => judgePreset(judge, store.current(), user, form, record), named);
}

async function decideSavedChat(recordOf: RecordReader, judging: Judging, scope: Scope, form: ChatForm) {
  const chatId = scope.pathIds['id'];
  if (form === 'message_deletion') return timed(scope, judging, () => judgeDeletion(judging, chatId ?? ''));
  const names = await recordOf(scope, { kind: 'save', form });
  // Most parts of a chat name nothing, and are saved also while policy cannot be read
  if (names.places.size === 0 && names.answers.length === 0 && names.timers.length === 0) return undefined;
  return timed(scope, judging, async () => {
    const { decision, end } = await judgeSave(judging, names, chatId);
    scope.endSave = end;
    return decision;
  });
}

async function decidePassthrough(recordOf: RecordReader, judging: Judging, scope: Scope) {
  const { judge, store, user } = judging;
  const body = await readPassed(recordOf, scope);
  const named = () => (body.kind === 'json' ? body.references.models : []);
  return timed(scope, judging, () => judgePassthrough(judge, store.current(), user, scope, body), named);
}

async function readPassed(recordOf: RecordReader, scope: Scope): Promise<PassedBody> {
  if (!hasBody(scope.incoming)) return { kind: 'none' };
  const contentType = scope.incoming.headers['content-type'] ?? '';
  if (IS_FORM.test(contentType)) {
    const named = await recordOf(scope, { kind: 'form', contentType });
    if (isEmpty(scope)) return { kind: 'none' };
    return named === undefined ? { kind: 'unreadable' } : { kind: 'form', named };
  }
  const references = await recordOf(scope, { kind: 'any' });
  if (isEmpty(scope)) return { kind: 'none' };
  return references === undefined ? { kind: 'unreadable' } : { kind: 'json', references };
}

/** @param named what the decision is about, as far as it is known: it is loaded together */
async function timed<T>(
  scope: Scope,
  { judge, store, user }: Judging,
  decide: () => T | Promise<T>,
  named: () => Iterable<ModelId> = () => [],
): Promise<T> {
  const startedAt = performance.now();
  try {
    return await store.ask(decide, judge.needs(user, named));
  } finally {
    scope.decisionMs = performance.now() - startedAt;
  }
}

/** @throws GatewayError `policy_unavailable` where it is the database, not the caller, that fails to say who it is */
function refuseNoUser(principal: Exclude<Principal, { kind: 'user' }>): Deny {
  if (principal.kind === 'unresolved') throw new GatewayError('policy_unavailable');
  return deny('not_authenticated');
}

const IS_FORM = /^\s*(?:multipart\/|application\/x-www-form-urlencoded)/i;

const isEmpty = ({ body }: Scope): boolean => body?.length === 0;

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

// What a backend admin under the organization's rule sends to a provider as it is: paths that the backend passes on whole
// (`ENABLE_OPENAI_API_PASSTHROUGH`, and the index routes of Ollama). The provider finds the model in the path, in the query,
// or in a body of any kind; where none of them names one, the gate cannot say what would run.

/** What a JSON document names, what stands in a form's fields that name models, or neither. */
type PassedBody =
  | { readonly kind: 'json'; readonly references: References }
  | { readonly kind: 'form'; readonly named: readonly (string | undefined)[] }
  | { readonly kind: 'none' | 'unreadable' };

/** Reading and deleting run nothing. */
const RUNS_NOTHING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

function judgePassthrough(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  scope: Scope,
  body: PassedBody,
): Decision | undefined {
  const named = namedIn(scope, body);
  if (named === undefined) return deny('reference_unreadable');
  const decision = judge.all(view, user, named, 'provider');
  if (decision !== undefined) return decision;
  const mayNameNone = RUNS_NOTHING.has(scope.incoming.method ?? '') || judge.options.adminAccess === 'all';
  return mayNameNone ? undefined : deny('model_missing');
}

/** @returns undefined where a model is named in a form that cannot be read */
function namedIn({ path, query }: Scope, body: PassedBody): ReadonlySet<ModelId> | undefined {
  if (body.kind === 'unreadable') return undefined;
  if (body.kind === 'json' && body.references.unreadable !== undefined) return undefined;
  const named = new Set(body.kind === 'json' ? body.references.models : []);
  const fields = body.kind === 'form' ? body.named : [];
  const ofQuery = [...new URLSearchParams(query)].filter(([name]) => namesModels(name)).map(([, text]) => text);
  for (const text of [...fields, ...ofQuery, ...modelOfPath(path)]) {
    const model = parseModelId(text);
    if (model === undefined) return undefined;
    named.add(model);
  }
  return named;
}

/** `/deployments/<model>/…` of Azure, `/models/<model>:<action>` of Gemini, `/engines/<model>/…` of old. */
function modelOfPath(path: string): string[] {
  const match = /\/(?:deployments|models|engines)\/([^/]+)/.exec(path);
  const segment = match?.[1];
  return segment === undefined ? [] : [segment.replace(/:[A-Za-z]+$/, '')];
}
