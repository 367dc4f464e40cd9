/** What one request to a provider may do: which models it names, and whether the person for whom it runs may use them. */
import { type RecordReader, type RecordReaderParts, createRecordReader } from '../enforcement/authorize.ts';
import type { Judge } from '../enforcement/judge.ts';
import { GatewayError } from '../errors.ts';
import { valuesOf } from '../identity/forwarded-user.ts';
import { type Decision, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { type Principal, type UserPrincipal, toOrganizationId } from '../policy/principal.ts';
import { FORM_CALL } from '../references/call.ts';
import { namesModels } from '../references/references.ts';
import type { Store } from '../store/store.ts';
import type { StoreView } from '../store/store-view.ts';
import { baseOf, decodedHost } from './address.ts';
import type { Endpoint } from './endpoints.ts';
import type { Provider, ProviderScope, WireModel } from './scope.ts';
import { candidatesOf, judgeForPayer } from './wire-model.ts';

interface DecideParts extends RecordReaderParts {
  readonly store: Pick<Store, 'ask' | 'current'>;
  readonly judge: Judge;
  /** `auto`: what the backend's settings name. */
  readonly serviceModels: 'auto' | ReadonlySet<string>;
  /** Endpoints that are for admins of the backend alone, and are not judged. */
  readonly extraPaths: ReadonlySet<string>;
  /** `refuse`, or the organization that calls without a user are for. */
  readonly unattributed: string;
}

/** @returns what a decision of `authorize` is; undefined where nothing runs */
export function createProviderDecider(parts: DecideParts) {
  const recordOf = createRecordReader(parts);
  return async function decideProvider(scope: ProviderScope): Promise<Decision | undefined> {
    const { endpoint, principal } = scope;
    if (endpoint === undefined) return isExtra(parts, scope) ? undefined : deny('endpoint_unknown');
    if (endpoint.kind === 'lists') return undefined;
    if (principal.kind === 'unresolved') throw new GatewayError('policy_unavailable');
    if (principal.kind === 'anonymous' && !isUnattributed(principal, endpoint))
      return deny(UNPROVED[principal.because]);
    const content = readableContent(scope, endpoint);
    if (content === undefined) return deny('content_unreadable');
    const models = await namedModels(recordOf, scope, endpoint, content);
    if (models === undefined) return deny('reference_unreadable');
    const [first, ...others] = models;
    if (first === undefined) return deny('model_missing');
    scope.wire = { ...unlisted(first), others: others.map(unlisted) };
    const startedAt = performance.now();
    try {
      if (principal.kind === 'user') return await judgeUser(parts, scope, endpoint, principal, models);
      return await parts.store.ask(() => judgeUnattributed(parts, scope, first, models));
    } finally {
      scope.decisionMs = performance.now() - startedAt;
    }
  };
}

const unlisted = (model: ModelId): WireModel => ({ model, listed: model });

const isExtra = ({ extraPaths }: DecideParts, { endpointName, principal }: ProviderScope): boolean =>
  extraPaths.has(endpointName) && principal.kind === 'user' && principal.role === 'admin';

type Anonymous = Extract<Principal, { kind: 'anonymous' }>;

const UNPROVED = {
  no_credential: 'no_identity',
  credential_invalid: 'identity_invalid',
  credential_expired: 'identity_invalid',
  user_unknown: 'user_unknown',
} as const;

/** The backend embeds and transcribes for itself, and says no user then; a chat has one always. */
const isUnattributed = ({ because }: Anonymous, { kind }: Endpoint): boolean =>
  because === 'no_credential' && kind !== 'runs';

/** Only what the backend runs for itself, and only where an organization answers for it. */
function judgeUnattributed(
  parts: DecideParts,
  scope: ProviderScope,
  first: ModelId,
  models: ReadonlySet<ModelId>,
): Decision {
  const isServiceModel = serviceModelTest(parts.serviceModels, parts.store.current());
  scope.payer = parts.unattributed === 'refuse' ? undefined : toOrganizationId(parts.unattributed);
  const isPermitted = parts.unattributed !== 'refuse' && [...models].every((model) => isServiceModel(model, [model]));
  if (!isPermitted) return deny('no_identity', first);
  return { effect: 'permit', reason: 'service_model', model: first, chain: [first] };
}

async function judgeUser(
  parts: DecideParts,
  scope: ProviderScope,
  endpoint: Endpoint,
  user: UserPrincipal,
  models: ReadonlySet<ModelId>,
): Promise<Decision> {
  const { store, judge } = parts;
  const { provider, incoming } = scope;
  const [asked = ''] = valuesOf(incoming.rawHeaders, ASKED_HEADER);
  const preset = parseModelId(asked);
  if (preset === undefined && asked !== '') return deny('reference_unreadable');
  const prefixes = await store.ask(() => prefixesOf(provider, store.current()));
  const wire = { endpoint, prefixes, models, asked: preset };
  const needs = judge.needs(user, () => [...models].flatMap((model) => candidatesOf(wire, model)));
  return store.ask(() => {
    const { decision, listed, payer, isServiceModel } = judgeCall(parts, store.current(), user, wire);
    const [first, ...others] = listed;
    if (first !== undefined) scope.wire = { ...first, others };
    scope.payer = payer;
    scope.isServiceModel = isServiceModel;
    return decision;
  }, needs);
}

type WireCall = Omit<Parameters<typeof judgeForPayer>[3], 'isServiceModel'>;
type JudgedCall = Pick<ProviderScope, 'payer' | 'isServiceModel'> & {
  readonly decision: Decision;
  /** All models that the call names, in their order. */
  readonly listed: readonly WireModel[];
};

export function judgeCall(
  { judge, serviceModels }: Pick<DecideParts, 'judge' | 'serviceModels'>,
  view: StoreView,
  user: UserPrincipal,
  call: WireCall,
): JudgedCall {
  const isService = serviceModelTest(serviceModels, view);
  const isServiceModel = (model: ModelId) => isService(model, candidatesOf(call, model));
  const models = [...call.models];
  const { decision, payer } = judgeForPayer(judge, view, user, { ...call, models, isServiceModel });
  const isGranted = (id: ModelId) => judge.one(view, user, id, 'provider').effect === 'permit';
  const listed = models.map((model) => {
    const candidates = candidatesOf(call, model);
    // of connections with several prefixes, the one that is granted
    const granted = candidates.length > 1 ? candidates.find(isGranted) : undefined;
    return { model, listed: granted ?? candidates[0] ?? model };
  });
  const [first] = models;
  return { decision, payer, listed, isServiceModel: first !== undefined && isServiceModel(first) };
}

/** The model that the backend was asked for: `{{MODEL_ID}}` in a connection's headers, from 0.12.2. */
const ASKED_HEADER = 'x-modelgate-model';

/** By what the provider is asked for, or by the ids that the backend's lists may have for it. */
function serviceModelTest(serviceModels: DecideParts['serviceModels'], view: StoreView) {
  const isAuto = serviceModels === 'auto';
  const [listed, sent] = isAuto ? setsOf(view.providerSettings().serviceModels) : [serviceModels, serviceModels];
  return (wire: ModelId, ids: readonly ModelId[]): boolean => sent.has(wire) || ids.some((id) => listed.has(id));
}

const setsOf = ({ listed, sent }: ReturnType<StoreView['providerSettings']>['serviceModels']) =>
  [new Set(listed), new Set(sent)] as const;

/** By the backend's connections whose address leads through this door to this provider. */
export function prefixesOf({ url, prefix }: Pick<Provider, 'url' | 'prefix'>, view: StoreView): readonly string[] {
  if (prefix !== undefined) return [`${prefix}.`];
  const base = `/${url.host}${baseOf(url)}`;
  const own = view
    .providerSettings()
    .connections.filter((connection) => `${pathOfUrl(connection.url)}/`.startsWith(`${base}/`));
  return own.length === 0 ? [''] : [...new Set(own.map((connection) => connection.prefix))];
}

/** The host of the provider is its first segment, and has no letter case. */
function pathOfUrl(text: string): string {
  if (!URL.canParse(text)) return '';
  return baseOf(new URL(text)).replace(/^\/[^/]+/, (host) => decodedHost(host).toLowerCase());
}

/** @returns undefined where a model is named in a form that cannot be read */
async function namedModels(recordOf: RecordReader, scope: ProviderScope, endpoint: Endpoint, content: Content) {
  const inBody = await namedInBody(recordOf, scope, endpoint, content);
  const inQuery = [...new URLSearchParams(scope.query)].flatMap(([name, text]) => (namesModels(name) ? [text] : []));
  const inPath = scope.modelInPath === undefined ? [] : [scope.modelInPath];
  const named = inBody && [...inPath, ...inBody, ...inQuery].map(parseModelId);
  const models = named?.filter((model) => model !== undefined);
  return models === undefined || models.length !== named?.length ? undefined : new Set(models);
}

/** RFC 8259 11; a body without a type is read as JSON by all. */
const JSON_TYPE = /^(?:application\/(?:[\w.-]+\+)?json\s*(?:;\s*charset="?utf-8"?\s*)?)?$/i;
/** RFC 7578 4.1, with one boundary of the characters that it may have (RFC 2046 5.1.1): of a backslash readers make two. */
const ONE_FORM = /^multipart\/form-data\s*;\s*boundary=(?:"[\w'()+,./:=? -]+"|[\w'()+,./:=?-]+)$/i;

type Content = Readonly<{ kind: 'json' } | { kind: 'form'; contentType: string }>;

/** What a provider would read by another type, or after a coding, is not what was judged. */
function readableContent({ incoming }: ProviderScope, { isForm }: Endpoint): Content | undefined {
  const { rawHeaders } = incoming;
  const [contentType = '', ...more] = valuesOf(rawHeaders, 'content-type');
  if (more.length > 0 || valuesOf(rawHeaders, 'content-encoding').some((coding) => coding !== 'identity'))
    return undefined;
  if (isForm && ONE_FORM.test(contentType)) return { kind: 'form', contentType };
  return JSON_TYPE.test(contentType) ? { kind: 'json' } : undefined;
}

/** What else the body says of the call is kept in the scope. */
async function namedInBody(
  recordOf: RecordReader,
  scope: ProviderScope,
  { name, topLevel }: Endpoint,
  content: Content,
) {
  if (content.kind === 'form') {
    scope.call = FORM_CALL;
    return recordOf(scope, content);
  }
  // 0.6.18 sends on whatever a client has put into its request: nothing in there is the backend's own
  const rules = { topLevel, controls: 'defined' } as const;
  const { model, references, written, facts } = await recordOf(scope, { kind: 'call', rules, endpoint: name });
  scope.call = facts;
  if (references.unreadable !== undefined) return undefined;
  // the one that is to run first: what is counted is counted for it
  return [...(model === '' ? [] : [model]), ...references.models, ...written.places.keys()];
}
