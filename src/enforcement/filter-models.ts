/** The stage that attaches to the request what its answer must go through if it lists models. */
import { isPolicyUnavailable } from '../errors.ts';
import type { PolicyView } from '../policy/decide.ts';
import type { GrantSet, ModelId } from '../policy/grant.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import type { Stage } from '../stage.ts';
import type { Store } from '../store/store.ts';
import type { Audit } from '../telemetry/audit.ts';
import type { AnswerRewrite, BufferedAnswer } from '../transport/exchange.ts';
import { fieldOf } from '../transport/headers.ts';
import type { EnforcementScope } from './answers.ts';
import type { Judge, NameSpace } from './judge.ts';
import { type ListIndex, type ListShape, type Permits, filterList } from './list.ts';
import type { ListReading } from './list-reading.ts';

interface FilterParts<Scope> {
  readonly store: Pick<Store, 'ask' | 'current' | 'patiently'>;
  readonly judge: Judge;
  readonly lists: Pick<ListReading, 'read'>;
  readonly mode: 'enforce' | 'report';
  readonly audit: Pick<Audit, 'recordList' | 'recordUnreadable'>;
  readonly listedBy: (scope: Scope) => Listed | undefined;
}

export interface Listed {
  readonly shape: ListShape;
  readonly names: NameSpace;
  /** Without a user, or without policy, it names no model and goes on. */
  readonly isPublic: boolean;
  /** Where the gate searches, counts and cuts pages itself: `filter` takes from a page what the caller may not see. */
  readonly pages?:
    ((filter: FilterPage) => { readonly firstTarget: string; readonly rewrite: AnswerRewrite }) | undefined;
}

export type FilterPage = (page: BufferedAnswer) => Promise<BufferedAnswer>;

/** Decides anew for every answer; only the reading of bytes is remembered. */
export function filterModels<Scope extends EnforcementScope>(parts: FilterParts<Scope>): Stage<Scope> {
  const { store, judge, audit, lists } = parts;
  const isReport = parts.mode === 'report';

  return function filterModels(c, next) {
    const scope = c.get('scope');
    const listed = parts.listedBy(scope);
    if (listed !== undefined) scope.rewrite = rewriteOf(scope, listed);
    return next();
  };

  function rewriteOf(scope: EnforcementScope, listed: Listed): AnswerRewrite {
    const filter: FilterPage = (answer) => rewrite(scope, listed, answer);
    if (listed.pages === undefined || isReport) return filter;
    const pages = listed.pages(filter);
    scope.target = pages.firstTarget;
    return (answer, ask) => (isAnswered(answer) ? pages.rewrite(answer, ask) : answer);
  }

  /** @throws GatewayError `policy_unavailable` */
  async function rewrite(scope: EnforcementScope, listed: Listed, answer: BufferedAnswer): Promise<BufferedAnswer> {
    // Errors and redirects list nothing, and neither does the page of the backend, which stands at unknown paths
    if (!isAnswered(answer) || isPage(answer)) return answer;
    const { shape } = listed;
    let index: ListIndex;
    try {
      const encoding = headerValue(answer, 'content-encoding');
      if (encoding !== undefined && encoding !== 'identity') throw new Error(`the answer is encoded as ${encoding}`);
      index = await lists.read(answer.body, shape);
    } catch (cause) {
      audit.recordUnreadable(scope, shape.name, cause);
      return isReport ? answer : emptyAnswer(answer, shape);
    }
    const filter = (permits: Permits) => filterList(answer.body, index, permits);
    const { principal } = scope;
    const filterNow = () => {
      if (principal.kind !== 'user') return filter(() => false);
      const view = forOneReader(store.current(), principal);
      return filter((model) => judge.one(view, principal, model, listed.names).effect === 'permit');
    };
    const need = principal.kind === 'user' ? judge.needs(principal, () => namedBy(filter)) : {};
    let filtered: ReturnType<typeof filterList>;
    try {
      filtered = await store.patiently(() => store.ask(filterNow, need));
    } catch (error) {
      // The answer is well, it is the policy that cannot be read: a list that is empty by mistake looks like no access
      if (!isPolicyUnavailable(error) || !(isReport || listed.isPublic)) throw error;
      if (isReport) return answer;
      filtered = filter(() => false);
    }
    audit.recordList(scope, shape.name, filtered.kept, filtered.removed);
    return isReport ? answer : { ...answer, body: filtered.body };
  }
}

function namedBy(filter: (permits: Permits) => unknown): readonly ModelId[] {
  const named: ModelId[] = [];
  filter((model) => named.push(model) > 0);
  return named;
}

/** The same view, with the reader's grants looked up once a list and not once a model: half of what a list costs. */
function forOneReader(view: PolicyView, reader: UserPrincipal): PolicyView {
  let grants: readonly GrantSet[] | undefined;
  return {
    grantsOf: (user) => (user === reader ? (grants ??= view.grantsOf(user)) : view.grantsOf(user)),
    preset: (id) => view.preset(id),
    isComposite: (id) => view.isComposite(id),
    connectionPrefixes: () => view.connectionPrefixes(),
  };
}

const headerValue = ({ headers }: BufferedAnswer, name: string): string | undefined =>
  fieldOf(headers, name)?.trim().toLowerCase();

/** 0.6.18 serves its page at `GET /api/v1/models`, which it does not know. */
const isPage = (answer: BufferedAnswer): boolean =>
  /^text\/html\b/.test(headerValue(answer, 'content-type') ?? '') &&
  /^\s*<(?:!doctype html|html)/i.test(answer.body.toString('latin1', 0, 64));

const isAnswered = ({ status, body }: BufferedAnswer): boolean => status >= 200 && status <= 299 && body.length > 0;

function emptyAnswer({ status, headers }: BufferedAnswer, { empty }: ListShape): BufferedAnswer {
  const kept = headers.filter((_, at) => !/^content-(?:type|encoding)$/.test(headers[at - (at % 2)] ?? ''));
  return { status, headers: [...kept, 'content-type', 'application/json'], body: Buffer.from(empty) };
}
