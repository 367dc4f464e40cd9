/** The stage before a call leaves: what is set in its body, so that it can be counted and attributed. */
import { createHash } from 'node:crypto';
import { GatewayError } from '../errors.ts';
import { type Members, setMembers } from '../references/members.ts';
import type { Stage } from '../stage.ts';
import type { AnswerEdit, ExchangeEvents, ForwardOutcome } from '../transport/exchange.ts';
import { forward } from '../transport/forward.ts';
import { indexOfField } from '../transport/headers.ts';
import type { Provider, ProviderScope } from './scope.ts';

interface PrepareOptions {
  readonly usageAsking: Pick<UsageAsking, 'mayAsk'>;
  /** `MODELGATE_PROVIDER_USER_FIELD`: what the provider has as the user of a call. */
  readonly userField: 'off' | 'organization' | 'user';
}

/** Endpoints with `stream_options`. */
const ASKABLE: ReadonlySet<string> = new Set(['chat/completions', 'completions']);
/** Endpoints with `user`. */
const WITH_USER: ReadonlySet<string> = new Set([
  ...['chat/completions', 'completions', 'responses', 'embeddings'],
  ...['images/generations', 'images/edits', 'images/variations'],
]);

export function prepare({ usageAsking, userField }: PrepareOptions): Stage<ProviderScope> {
  return function prepare(c, next) {
    const scope = c.get('scope');
    const { call, body, provider, endpointName } = scope;
    // Of a form, and of what was not judged, nothing is known
    if (call?.place === undefined || body === undefined) return next();
    const attached = Object.fromEntries(call.detaching.map((name) => [name, false]));
    const attributed = { ...attached, ...(userField === 'off' ? {} : userMembers(scope, userField)) };
    let members: Members = attributed;
    if (call.isStreamed && call.asksForUsage !== true && ASKABLE.has(endpointName) && usageAsking.mayAsk(provider)) {
      members = { ...attributed, stream_options: { include_usage: true } };
      // a caller that asks in an odd form may want it
      scope.hidesUsage = call.asksForUsage === false;
      scope.answerEdits = [...scope.answerEdits, dropLength];
      scope.unasked = setMembers(body, call.place, attributed);
    }
    if (Object.keys(members).length > 0) scope.bodyParts = setMembers(body, call.place, members);
    return next();
  };
}

/** A stream from which an event is taken out is shorter than the provider has said. */
const dropLength: AnswerEdit = (lines, status) => {
  const at = status < 300 ? indexOfField(lines, 'content-length') : -1;
  if (at >= 0) lines.splice(at - 1, 2);
};

function userMembers(scope: ProviderScope, userField: 'organization' | 'user'): Members {
  const { payer, principal, endpointName, call } = scope;
  if (payer === undefined) return {};
  const isPerson = userField === 'user' && principal.kind === 'user';
  const user = isPerson ? `${payer}_user_${digestOf(principal.id)}` : payer;
  if (WITH_USER.has(endpointName)) return { user };
  const metadata = call?.place?.inside?.members['metadata'];
  // Metadata that is no object is the provider's to refuse
  const isSettable = metadata === undefined || metadata.inside !== undefined;
  return endpointName === 'messages' && isSettable ? { metadata: { user_id: user } } : {};
}

/** As mAI writes it: the first 8 hexadecimal digits. */
const digestOf = (id: string): string => createHash('sha256').update(id).digest('hex').slice(0, 8);

interface UsageAskingParts {
  /** Hosts of providers: `MODELGATE_PROVIDER_NO_STREAM_OPTIONS`. */
  readonly refusing: ReadonlySet<string>;
  readonly warn: (fields: Readonly<Record<string, string>>, message: string) => void;
  readonly now?: () => number;
}

/** A refusal may have had another reason that has passed: what a provider has once taken is never doubted again. */
const ASK_AGAIN_MS = 3_600_000;

/** Of a member that a provider does not know, Mistral says 422 (dnakov/anon-kode#53). */
const REFUSALS: ReadonlySet<number> = new Set([400, 422]);
const isSuccess = (status: number): boolean => status >= 200 && status < 300;

type UsageAsking = ReturnType<typeof createUsageAsking>;

/**
 * Which providers are asked for the usage of a stream (`stream_options.include_usage`), which some refuse: so the settings
 * say, or their answers.
 */
export function createUsageAsking({ refusing, warn, now = () => performance.now() }: UsageAskingParts) {
  /** Hosts, since the start. */
  const taking = new Set<string>();
  const refusedAt = new Map<string, number>();

  /**
   * Sends a call. Where it is refused by a provider that has never taken the question, nothing of that answer goes out: the
   * call is sent once more without it. @throws as `forward`
   */
  async function send(scope: ProviderScope, events: ExchangeEvents): Promise<ForwardOutcome> {
    const { upstream, url } = scope.provider;
    const { host } = url;
    if (taking.has(host)) scope.unasked = undefined;
    if (scope.unasked === undefined) return forward(upstream, scope, events);
    const refused = new GatewayError('upstream_invalid');
    const { onUploaded, ...others } = events;
    function onHead(status: number): Error | undefined {
      if (isSuccess(status)) taking.add(host);
      if (REFUSALS.has(status) && !taking.has(host)) return refused;
      // A long body need not live as long as its answer
      scope.unasked = undefined;
      onUploaded?.(scope.outgoing);
      return undefined;
    }
    try {
      return await forward(upstream, scope, { ...others, onHead });
    } catch (error) {
      if (error !== refused) throw error;
      return sendUnasked(scope, events);
    }
  }

  function sendUnasked(scope: ProviderScope, events: ExchangeEvents): Promise<ForwardOutcome> {
    const { upstream, url } = scope.provider;
    const { host } = url;
    scope.bodyParts = scope.unasked;
    scope.unasked = undefined;
    scope.hidesUsage = false;
    function onHead(status: number): undefined {
      // Any other answer says too little: the next call asks again
      if (!isSuccess(status) || taking.has(host)) return;
      if (!refusedAt.has(host)) warn({ provider: host }, REFUSED);
      refusedAt.set(host, now());
    }
    return forward(upstream, scope, { ...events, onHead });
  }

  const mayAsk = ({ url: { host } }: Provider): boolean =>
    !refusing.has(host) && now() - (refusedAt.get(host) ?? -Infinity) > ASK_AGAIN_MS;
  return { mayAsk, send };
}

const REFUSED =
  'this provider refuses stream_options: it is not asked for the usage of streams, which is estimated where it does not tell it by itself. Name it in MODELGATE_PROVIDER_NO_STREAM_OPTIONS, so that it is not asked again in an hour.';
