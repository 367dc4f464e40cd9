/**
 * Judges what a backend admin under the organization's rule sends to a provider as it is: paths that the backend passes
 * on whole (`ENABLE_OPENAI_API_PASSTHROUGH`, and the index routes of Ollama). The provider finds the model in the path, in
 * the query, or in a body of any kind; where none of them names one, the gate cannot say what would run.
 */
import type { Judge } from '../enforcement/judge.ts';
import type { Scope } from '../gate/scope.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import { parseModelId } from '../policy/grant.ts';
import { namesModels } from '../references/model-keys.ts';
import type { References } from '../references/references.ts';
import type { StoreView } from '../store/store-view.ts';

/** What a JSON document names, what stands in a form's fields that name models, or neither. */
export type PassedBody =
  | { readonly kind: 'json'; readonly references: References }
  | { readonly kind: 'form'; readonly named: readonly (string | undefined)[] }
  | { readonly kind: 'none' | 'unreadable' };

/** Reading and deleting run nothing. */
const RUNS_NOTHING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

export function judgePassthrough(
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
