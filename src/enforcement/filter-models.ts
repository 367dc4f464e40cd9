/** The stage that attaches to the request what its answer must go through if it lists models. */
import { isPolicyUnavailable } from '../errors.ts';
import type { PolicyView } from '../policy/decide.ts';
import type { GrantSet, ModelId } from '../policy/grant.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import type { Stage } from '../stage.ts';
import type { Store } from '../store/store.ts';
import type { Audit } from '../telemetry/audit.ts';
import type { AnswerRewrite, AskUpstream, BufferedAnswer } from '../transport/exchange.ts';
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
  /** Where the gate searches, counts and cuts pages itself. */
  readonly pages?: (() => Pages) | undefined;
}

export interface Pages {
  readonly firstTarget: string;
  /** @returns the page that was asked for, of pages from which `filter` took what the caller may not see */
  assemble(
    first: BufferedAnswer,
    ask: AskUpstream,
    filter: (page: BufferedAnswer) => BufferedAnswer | Promise<BufferedAnswer>,
  ): Promise<BufferedAnswer>;
}

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
    const page = (answer: BufferedAnswer) => rewrite(scope, listed, answer);
    if (listed.pages === undefined || isReport) return page;
    const pages = listed.pages();
    scope.target = pages.firstTarget;
    return (answer, ask) => (isAnswered(answer) ? pages.assemble(answer, ask, page) : answer);
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
    const need = principal.kind === 'user' ? judge.needs(principal, () => namedIn(answer.body, index)) : {};
    let filtered: ReturnType<typeof filterList>;
    try {
      filtered = await store.patiently(() => store.ask(() => filter(permitsFor(parts, scope, listed)), need));
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

/** Without a user no model is permitted. @throws GatewayError `policy_unavailable` */
function permitsFor({ store, judge }: FilterParts<never>, { principal }: EnforcementScope, { names }: Listed): Permits {
  if (principal.kind !== 'user') return () => false;
  const view = forOneReader(store.current(), principal);
  return (model) => judge.one(view, principal, model, names).effect === 'permit';
}

function namedIn(body: Buffer, index: ListIndex): readonly ModelId[] {
  const named: ModelId[] = [];
  filterList(body, index, (model) => named.push(model) > 0);
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
