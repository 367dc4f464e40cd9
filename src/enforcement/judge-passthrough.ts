/**
 * Judges what a backend admin under the organization's rule sends to a provider as it is: paths that the backend passes
 * on whole (`ENABLE_OPENAI_API_PASSTHROUGH`, and the index routes of Ollama). The provider finds the model in the path, in
 * the query, or in a body of any kind; where none of them names one, the gate cannot say what would run.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import { namesModels } from '../references/model-keys.ts';
import { collectReferences } from '../references/references.ts';
import type { Scope } from '../scope.ts';
import type { StoreView } from '../store/store-view.ts';
import type { Judge } from './judge.ts';

/** Parsed JSON, the fields of a form, or neither. */
export type PassedBody =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'form'; readonly fields: readonly (readonly [name: string, value: unknown])[] }
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
  const { models, unreadable } = collectReferences(body.kind === 'json' ? body.value : undefined);
  if (unreadable !== undefined) return undefined;
  const fields = body.kind === 'form' ? body.fields : [];
  const texts = [...fields, ...new URLSearchParams(query)]
    .filter(([name]) => namesModels(name))
    .map(([, text]) => text);
  const named = new Set(models);
  for (const text of [...texts, ...modelOfPath(path)]) {
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

/** @param contentType of the request @returns the fields of a form; the platform's own reader is asked */
export async function readForm(body: Buffer, contentType: string): Promise<PassedBody> {
  try {
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- an admin's body, bounded in length before
    const form = await new Response(body, { headers: { 'content-type': contentType } }).formData();
    return { kind: 'form', fields: [...form] };
  } catch {
    return { kind: 'unreadable' };
  }
}
