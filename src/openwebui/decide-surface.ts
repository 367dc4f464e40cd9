import type { IncomingMessage } from 'node:http';
import { type Decide, type RecordReaderParts, createRecordReader } from '../enforcement/authorize.ts';
import { type Judge, firstDenial } from '../enforcement/judge.ts';
import { GatewayError } from '../errors.ts';
import { type Decision, type Deny, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId, parsePattern } from '../policy/grant.ts';
import type { Principal } from '../policy/principal.ts';
import type { Need } from '../store/foresight.ts';
import type { StoreView } from '../store/store-view.ts';
import { isObject, parseStrictText } from '../references/json.ts';
import type { ChatForm, InvocationRecord, PresetForm, PresetRow } from '../references/records.ts';
import { namesModels } from '../references/references.ts';
import type { Store } from '../store/store.ts';
import type { Audit } from '../telemetry/audit.ts';
import { type OpenWebUiScope, queryValue } from './endpoints.ts';
import { judgeInvocation } from './invocations.ts';
import { type Judging, type JudgingParts, createJudging, judgeDeletion, judgeSave } from './saved-chats.ts';
import type { InvokesSurface } from './surfaces.ts';

export function createSurfaceDecider(given: Omit<JudgingParts, 'recordOf'> & RecordReaderParts) {
  const parts: JudgingParts = { ...given, recordOf: createRecordReader(given) };
  const { store, judge, recordOf } = parts;

  /** @returns undefined where the surface asks first who it is */
  async function foresee(scope: OpenWebUiScope): Promise<Need | undefined> {
    const { surface, claim } = scope;
    if (surface.kind !== 'invokes' || claim === undefined) return undefined;
    const record = await recordOf(scope, questionOf(surface));
    return { ...claim, models: () => judge.spellings(namedIn(record)) };
  }

  const decide: Decide<OpenWebUiScope> = async function decideSurface(scope) {
    const { surface, principal } = scope;
    if (surface.kind === 'neutral') return surface.unlisted === true ? decideUnlisted(parts, scope) : undefined;
    if (surface.kind === 'lists' && surface.public === true) return undefined;
    if (principal.kind !== 'user') return refuseNoUser(principal);
    const judging = createJudging(parts, scope, principal);
    switch (surface.kind) {
      case 'refused':
        if (principal.role === 'admin') return surface.judged === true ? decidePassthrough(judging) : undefined;
        // a denial is counted for the user's organizations
        await store.load({ user: principal });
        return deny('path_unlisted');
      case 'lists':
        // Without policy a list is refused, not shown empty: only then does the client ask again
        store.current();
        return undefined;
      case 'manages':
        return principal.role === 'admin' ? undefined : decidePresets(judging, surface.form);
      case 'saves':
        return decideSavedChat(judging, surface.form);
      case 'invokes': {
        const record = await recordOf(scope, questionOf(surface));
        return timed(
          judging,
          () => judgeInvocation(judging, surface, record),
          () => namedIn(record),
        );
      }
    }
  };
  return { decide, foresee };
}

const questionOf = ({ rules, mentions, modelRequired }: InvokesSurface) =>
  ({ kind: 'invocation', rules, mentions: mentions === true, mayBeEmpty: !modelRequired }) as const;

const namedIn = ({ references, mentioned, written }: InvocationRecord): string[] => [
  ...references.models,
  ...mentioned.map(({ text }) => text),
  ...written.places.keys(),
];

/** A path under `/api` that no table lists: only the JSON that it carries is searched for models. */
async function decideUnlisted(parts: JudgingParts, scope: OpenWebUiScope) {
  if (!hasBody(scope.incoming)) return undefined;
  // What a new route means by a key that cannot be read is not known
  const models = (await parts.recordOf(scope, { kind: 'any' }))?.models;
  if (models === undefined || models.size === 0) return undefined;
  const { principal } = scope;
  if (principal.kind !== 'user') return refuseNoUser(principal);
  const { all, judge, store } = createJudging(parts, scope, principal);
  return store.ask(
    () => all(models),
    judge.needs(principal, () => models),
  );
}

async function decidePresets(judging: Judging, form: PresetForm) {
  const { scope } = judging;
  const rows = await judging.recordOf(scope, { kind: 'presets', form, queryId: queryValue(scope.query, 'id') });
  const named = () => rows?.flatMap((row) => [...row.named, ...row.ids]) ?? [];
  const judgeRow = form === 'preset_switch' ? judgeSwitch : judgePreset;
  // undefined where the body has not the form that the backend reads
  const judgeRows = () => (rows ? firstDenial(rows, (row) => judgeRow(judging, row)) : deny('reference_unreadable'));
  return timed(judging, judgeRows, named);
}

async function decideSavedChat(judging: Judging, form: ChatForm) {
  const { id } = judging.scope.pathIds;
  if (form === 'message_deletion') return timed(judging, () => judgeDeletion(judging, id ?? ''));
  const names = await judging.recordOf(judging.scope, { kind: 'save', form });
  // Most parts of a chat name nothing, and are saved also while policy cannot be read
  if (names.places.size === 0 && names.answers.length === 0 && names.timers.length === 0) return undefined;
  return timed(
    judging,
    () => judgeSave(judging, names, id),
    () => names.places.keys(),
  );
}

/**
 * Paths that the backend passes on whole (`ENABLE_OPENAI_API_PASSTHROUGH`, Ollama's index routes). The provider finds the
 * model in path, query or a body of any kind; where none names one, the gate cannot say what would run.
 */
async function decidePassthrough(judging: Judging) {
  const { path, query, incoming } = judging.scope;
  const inBody = await namedInBody(judging);
  const inQuery = [...new URLSearchParams(query)].filter(([name]) => namesModels(name)).map(([, text]) => text);
  const named = inBody && [...inBody, ...inQuery, ...modelOfPath(path)].map(parseModelId);
  const models = new Set(named?.filter((model) => model !== undefined));
  const judgePassthrough = (): Decision | undefined => {
    if (named === undefined || named.includes(undefined)) return deny('reference_unreadable');
    const decision = judging.all(models, 'provider');
    if (decision !== undefined) return decision;
    const mayNameNone = RUNS_NOTHING.has(incoming.method ?? '') || judging.judge.options.adminAccess === 'all';
    return mayNameNone ? undefined : deny('model_missing');
  };
  return timed(judging, judgePassthrough, () => models);
}

/** @returns undefined where the body cannot be read, or names a model in a form that cannot */
async function namedInBody({ recordOf, scope }: Judging): Promise<readonly (string | undefined)[] | undefined> {
  if (!hasBody(scope.incoming)) return [];
  const contentType = scope.incoming.headers['content-type'] ?? '';
  const record = await recordOf(scope, IS_FORM.test(contentType) ? { kind: 'form', contentType } : { kind: 'any' });
  if (scope.body?.length === 0) return [];
  if (record === undefined || !('models' in record)) return record;
  return record.unreadable === undefined ? [...record.models] : undefined;
}

async function timed<T>(judging: Judging, decide: () => T | Promise<T>, named: () => Iterable<string> = () => []) {
  const { store, judge, user, scope } = judging;
  const startedAt = performance.now();
  const attempt = () => {
    // An earlier attempt may have begun a save, of which nothing was sent
    scope.endSave?.(true);
    scope.endSave = undefined;
    return decide();
  };
  try {
    return await store.ask(attempt, judge.needs(user, named));
  } finally {
    scope.decisionMs = performance.now() - startedAt;
  }
}

function refuseNoUser(principal: Exclude<Principal, { kind: 'user' }>): Deny {
  if (principal.kind === 'unresolved') throw new GatewayError('policy_unavailable');
  return deny('not_authenticated');
}

const IS_FORM = /^\s*(?:multipart\/|application\/x-www-form-urlencoded)/i;

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** Reading and deleting run nothing. */
const RUNS_NOTHING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

/** `/deployments/<model>/…` of Azure, `/models/<model>:<action>` of Gemini, `/engines/<model>/…` of old. */
function modelOfPath(path: string): string[] {
  const segment = /\/(?:deployments|models|engines)\/([^/]+)/.exec(path)?.[1];
  return segment === undefined ? [] : [segment.replace(/:[A-Za-z]+$/, '')];
}

function judgePreset(judging: Judging, row: PresetRow): Decision | undefined {
  // The backend sends a base to the provider as it is: no row of that name leads on
  const decision = judging.all(row.named, 'provider');
  if (decision?.effect === 'deny') return decision;
  // A preset on a composite model picks from a list of its own; a grant on a pattern would be read as a prefix of many
  const isPattern = (id: ModelId) => parsePattern(id)?.kind === 'prefix';
  const { view } = judging;
  const taken = [...row.named, ...row.ids].find((id) => view.isComposite(id)) ?? row.ids.find(isPattern);
  if (taken !== undefined) return deny('preset_id_taken', taken);
  if (!row.hasBase) return deny('model_missing');
  return row.ids.some((id) => redirectsOthers(judging, id, row)) ? deny('preset_id_taken', row.ids[0]) : decision;
}

/**
 * Switching, deleting and sharing are for the owner and for those who may use the row. A row without a base changes what
 * all users see of a provider's model: it is the admins'. Rows that are not there are refused alike.
 */
function judgeSwitch(judging: Judging, { ids }: PresetRow): Decision | undefined {
  for (const id of ids) {
    const row = judging.view.preset(id);
    const mayUse = row !== undefined && (row.owner === judging.user.id || judging.one(id).effect === 'permit');
    if (!mayUse) return deny('not_granted', id, [id]);
    if (row.base === undefined || row.base === id) return deny('preset_id_taken', id);
  }
  return undefined;
}

/**
 * A new row on a provider's model, or on a granted id, would redirect all its users, and so would a changed base of it.
 * The backend takes a name without a tag for a model of Ollama with one.
 */
function redirectsOthers({ view, judge }: Judging, id: ModelId, row: PresetRow): boolean {
  const current = view.preset(id);
  const isUsed = view.isGrantedAnywhere(id) || view.isGrantedAnywhere(`${id}:latest` as ModelId);
  if (current === undefined) return isUsed || judge.providerModels.has(id);
  if (current.base === undefined || current.base === id) return true;
  const before = new Set([current.id, current.base, ...current.parameterModels]);
  return isUsed && [...row.named].some((model) => !before.has(model));
}

export interface RealtimeParts {
  readonly store: Pick<Store, 'ask' | 'current' | 'failures' | 'isRemote' | 'load' | 'patiently'>;
  readonly judge: Judge;
  readonly resolveToken: (token: string, view: StoreView) => Principal | Promise<Principal>;
  readonly audit: Pick<Audit, 'recordLateDecision'>;
  readonly mode: 'enforce' | 'report';
}

/** Judges a socket's first frame. @returns the decision by which it goes on, or undefined; rejects without a policy */
export function createRealtimeJudge({ store, judge, resolveToken, audit, mode }: RealtimeParts) {
  /** The token of the frame counts, not that of the handshake: it is the one that the backend reads. */
  async function decideFrame(scope: OpenWebUiScope, text: string): Promise<Decision> {
    const frame = parseStrictText(text);
    const { token, model_id: named } = isObject(frame) ? frame : {};
    if (typeof token !== 'string') return deny('not_authenticated');
    const model = parseModelId(named);
    if (model === undefined) return deny(named === undefined ? 'model_missing' : 'reference_unreadable');
    const principal = await resolveToken(token, store.current());
    scope.principal = principal;
    if (principal.kind === 'user') await store.load(judge.needs(principal, () => [model]));
    return judge.one(store.current(), principal, model);
  }
  return async function judgeFirstMessage(scope: OpenWebUiScope, text: string): Promise<Decision | undefined> {
    const decision = await store.patiently(() => store.ask(() => decideFrame(scope, text)));
    // No answer carries this decision, so the log has to
    audit.recordLateDecision(scope, decision);
    return decision.effect === 'permit' || mode === 'report' ? decision : undefined;
  };
}
