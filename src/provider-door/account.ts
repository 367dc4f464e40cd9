/** The stage that counts: what leaves is in the ledger before, what has been used is in it before the answer ends. */
import { ClientGone, GatewayError } from '../errors.ts';
import { valuesOf } from '../identity/forwarded-user.ts';
import type { Budget } from '../policy/budget.ts';
import type { Stage } from '../stage.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { AnswerTap } from '../transport/exchange.ts';
import type { createAdmissions } from '../usage/admission.ts';
import type { AnswerForm } from '../usage/answer-reading.ts';
import { type Call, type Ending, type Settled, metricsOf, unanswered } from '../usage/call.ts';
import type { Ledger } from '../usage/ledger.ts';
import { type AnswerFacts, createMeter } from '../usage/meter.ts';
import { type Kind, NANO } from '../usage/usage.ts';
import { type OwnKeyOf, payWith } from './provider-key.ts';
import type { ProviderScope } from './scope.ts';

interface AccountOptions {
  readonly ledger: Ledger;
  readonly admissions: ReturnType<typeof createAdmissions>;
  readonly ownKeyOf: OwnKeyOf;
  readonly log: Pick<Log, 'warn'>;
  readonly metrics: Pick<Metrics, 'usage'>;
  readonly disconnect: 'abort' | 'drain';
  /** Names of the backend's header fields. */
  readonly chatHeader: string;
  readonly authTypeHeader: string;
}

/** Counting the tokens of a text, and looking at a model, cost nothing. */
const FREE: ReadonlySet<string> = new Set(['messages/count_tokens', 'api/show']);
const DRAIN_MS = 60_000;
/** The backend's are UUIDs. */
const LONGEST_CHAT_ID = 128;

export function account(options: AccountOptions): Stage<ProviderScope> {
  const { ledger, admissions, ownKeyOf, log, metrics, disconnect } = options;
  const kindOf = createKinds(options);
  return async function account(c, next) {
    const scope = c.get('scope');
    if (scope.endpoint?.kind === 'lists') return next();
    const call = callOf(scope, options, kindOf(scope));
    const { charges, budgets } = await admissions.chargesFor(call, scope.wire?.others);
    const opening = await ledger.open(call, { charges, ...admissions.rules, ...boundsOf(scope) });
    const nearing = opening.kind === 'unwritten' ? [] : opening.nearing;
    scope.answerEdits = [...scope.answerEdits, ...admissions.editsOf(nearing, budgets)];
    if (opening.kind === 'refused') {
      metrics.usage.refused(call.organization);
      throw await admissions.refusalOf(opening, budgets, call.startedAt);
    }
    if (opening.kind === 'unwritten')
      log.warn({ ...call }, 'the ledger cannot be written: this call is in the log alone until it can');
    const settling = createSettling(scope, call, { charges, budgets }, options);
    scope.tap = settling.tap;
    try {
      payWith(scope, await ownKeyOf(call, opening.kind === 'opened' ? opening.sealedKey : undefined));
      // while the ledger wrote
      if (scope.outgoing.destroyed) throw new ClientGone();
    } catch (error) {
      await settling.settle(unanswered('failed'));
      throw error;
    }
    await next();
    const { error } = c;
    // what is read on ends with its meter
    const isReadOn = error instanceof ClientGone && disconnect === 'drain' && !settling.isOver();
    if (isReadOn) settling.leave();
    else if (error !== undefined && !settling.isDone()) await settling.settle(unanswered(stateAfter(error)));
  };
}

/** What embeds or ranks writes nothing. */
const boundsOf = ({ endpoint, call, wire }: ProviderScope) => ({
  maxOutput: endpoint?.kind === 'service' ? 0 : call?.outputLimit,
  choices: call?.n,
  reads: call?.reads ?? 'unbounded',
  otherModels: wire?.others.map(({ model }) => model) ?? [],
});

/** Writes once what the call has used. The meter of its answer learns of its end first, or the stage does. */
function createSettling(scope: ProviderScope, call: Call, { charges, budgets }: Charged, options: AccountOptions) {
  const { ledger, log, metrics, disconnect } = options;
  let [isDone, isLeft, isOver] = [false, false, false];
  async function settle(ending: Ending): Promise<void> {
    isDone = true;
    const settled = await ledger.settle(call, ending, charges);
    scope.usage = fieldsOf(scope, call, settled);
    if (settled?.measured !== undefined) metrics.usage.counted(metricsOf({ ...call, ...ending.ranInstead }, settled));
    for (const budget of budgets) if (settled?.softReached.includes(budget.id) === true) warnOf(budget);
  }
  /** Once a period. */
  function warnOf({ id, organization, measure, amount, period, scope: { kind }, softPercent }: Budget): void {
    metrics.usage.warned(organization);
    const fields = { organization, budget: id, of: kind, user: kind === 'user' ? call.user : undefined };
    const limit = { measure, amount, period, soft_percent: softPercent };
    log.warn({ ...fields, ...limit }, 'a budget has reached its soft limit');
  }
  const meter = createMeter({
    form: formOf(scope),
    get hidesUsage() {
      return scope.hidesUsage;
    },
    identified: (generationId) => ledger.note(call.id, generationId),
    ended(facts) {
      isOver = true;
      // without an answer the stage knows why, but where it has ended before
      return facts.status === undefined && !isLeft ? undefined : settle(endingOf(facts, scope));
    },
  });
  const tap: AnswerTap = { ...meter, outlivesClientMs: disconnect === 'drain' ? DRAIN_MS : undefined };
  return { tap, settle, isDone: () => isDone, isOver: () => isOver, leave: () => (isLeft = true) };
}

type Charged = Awaited<ReturnType<AccountOptions['admissions']['chargesFor']>>;

/** For the access line. */
function fieldsOf({ hasOwnKey }: ProviderScope, { kind, organization }: Call, settled: Settled | undefined) {
  const { measured, usage = {}, costNano } = settled ?? {};
  const { input, output } = usage;
  return {
    kind,
    organization,
    key: hasOwnKey ? 'organization' : undefined,
    measured,
    input,
    output,
    cost_usd: costNano === undefined ? undefined : costNano / NANO,
  };
}

function callOf(scope: ProviderScope, { ledger, chatHeader }: AccountOptions, kind: Kind): Call {
  const { requestId: id, provider, endpointName, principal, payer, wire, call, body, incoming } = scope;
  const declared = Number(incoming.headers['content-length'] ?? 0);
  return {
    id,
    instance: ledger.instance,
    startedAt: Date.now(),
    organization: payer ?? '',
    user: principal.kind === 'user' ? principal.id : '',
    // a client may say any
    chat: valuesOf(incoming.rawHeaders, chatHeader)[0]?.slice(0, LONGEST_CHAT_ID),
    provider: provider.url.host,
    endpoint: endpointName,
    kind,
    model: wire?.listed ?? '',
    wireModel: wire?.model ?? '',
    isStreamed: call?.isStreamed ?? false,
    bytesIn: body?.length ?? declared,
    isFree: scope.endpoint === undefined || FREE.has(endpointName),
  };
}

function formOf({ endpoint, endpointName }: ProviderScope): AnswerForm {
  if (endpointName.startsWith('images/')) return 'images';
  const dialect = endpoint?.dialect;
  return dialect === 'ollama' || dialect === 'anthropic' ? dialect : 'openai';
}

/** Best effort, for reports. */
function createKinds({ chatHeader, authTypeHeader }: AccountOptions) {
  // releases from 0.11.4 say how the user has signed in, and nothing where the user is not there
  let isTypeSent = false;
  return function kindOf({ endpoint, endpointName, incoming, isServiceModel }: ProviderScope): Kind {
    const [chat = '', type] = [
      valuesOf(incoming.rawHeaders, chatHeader)[0],
      valuesOf(incoming.rawHeaders, authTypeHeader)[0],
    ];
    isTypeSent ||= type !== undefined;
    if (endpoint?.kind === 'media') return 'media';
    if (endpoint?.kind === 'service') return endpointName === 'rerank' ? 'service' : 'embedding';
    if (valuesOf(incoming.rawHeaders, TASK_HEADER).some((task) => task !== '') || isServiceModel) return 'task';
    if (chat.startsWith('channel:')) return 'channel';
    return isTypeSent && type === undefined ? 'background' : 'chat';
  };
}

/** `{{TASK}}` in a connection's headers, from 0.10. */
const TASK_HEADER = 'x-modelgate-task';

function endingOf(facts: AnswerFacts, { call, wire }: ProviderScope): Ending {
  const { status, usage, answeredModel, generationId, pictures, isCut } = facts;
  const isError = status !== undefined && status >= 400;
  const bytesOut = status === undefined ? undefined : facts.bytesOut;
  const units = pictures ?? call?.characters;
  const unit = pictures === undefined ? 'characters' : 'pictures';
  return {
    state: isError ? 'failed' : isCut && usage === undefined ? 'interrupted' : 'closed',
    endedAt: Date.now(),
    usage: usage ?? (units === undefined ? undefined : { units, unit }),
    ranInstead: answeredModel && wire ? ranInstead(answeredModel, wire) : undefined,
    ...{ status, answeredModel, generationId, bytesOut },
  };
}

/** A provider may answer with a longer name: `gpt-4o-2024-08-06` is `gpt-4o`, and no `gpt-4`. */
function ranInstead(answered: string, { model: first, others }: NonNullable<ProviderScope['wire']>) {
  const isMeant = (name: string): boolean => answered === name || answered.startsWith(`${name}-`);
  const meant = others.filter(({ model }) => isMeant(model)).toSorted((a, b) => b.model.length - a.model.length);
  const [closest] = meant;
  if (closest === undefined || (isMeant(first) && first.length > closest.model.length)) return undefined;
  return { model: closest.listed, wireModel: closest.model };
}

/** What never came is nothing that was used, but where the provider had the whole call: it may run, and be charged. */
function stateAfter(error: Error): Ending['state'] {
  const mayRun = error instanceof ClientGone || (error instanceof GatewayError && error.wasSent);
  return mayRun ? 'interrupted' : 'failed';
}
