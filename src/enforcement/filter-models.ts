import { LRUCache } from 'lru-cache';
import type { MiddlewareHandler } from 'hono';
import { isPolicyUnavailable } from '../errors.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import type { GrantSet, ModelId } from '../policy/grant.ts';
import type { GateEnv, Scope } from '../gate/scope.ts';
import type { Store, StoreView } from '../store/store-view.ts';
import type { Audit } from '../telemetry/audit.ts';
import type { AnswerRewrite, AskUpstream, BufferedAnswer } from '../transport/exchange.ts';
import { fieldOf } from '../transport/headers.ts';
import type { Judge, NameSpace, ProviderModels } from './judge.ts';
import { type FilteredList, type Permits, filterList } from './filter-list.ts';
import type { ListIndex, ListShape } from './list-index.ts';
import type { ListReading, ReadList } from './list-reading.ts';

interface FilterParts {
  readonly store: Pick<Store, 'ask' | 'current' | 'patiently'>;
  readonly judge: Judge;
  readonly lists: Pick<ListReading, 'read'>;
  readonly mode: 'enforce' | 'report';
  readonly audit: Pick<Audit, 'recordList' | 'recordUnreadable'>;
  /** @returns undefined where the answer is passed on as it comes */
  readonly listedBy: (scope: Scope) => Listed | undefined;
}

/** Answers of the backend that were read before, with the bytes they were read from. */
interface ReadAnswer {
  readonly body: Buffer;
  readonly index: ListIndex | Promise<ListIndex>;
}

const MAX_CACHED_BYTES = 32 * 1024 * 1024;
/** Answers of equal length that are remembered side by side. */
const MAX_ALIKE = 8;

/**
 * Attaches to the request what its answer must go through if it lists models. Decisions are made anew for every
 * answer; only the reading of identical bytes is remembered.
 */
export function filterModels(parts: FilterParts): MiddlewareHandler<GateEnv> {
  const read = createAnswerReader(parts.lists, parts.judge.providerModels);

  return function filterModels(c, next) {
    const scope = c.get('scope');
    const listed = parts.listedBy(scope);
    if (listed !== undefined) scope.rewrite = rewriteOf(scope, listed);
    return next();
  };

  function rewriteOf(scope: Scope, listed: Listed): AnswerRewrite {
    const page = (answer: BufferedAnswer) => rewrite(scope, listed, answer);
    if (listed.pages === undefined || parts.mode === 'report') return page;
    const pages = listed.pages();
    scope.target = pages.firstTarget;
    return (answer, ask) => (isAnswered(answer) ? pages.assemble(answer, ask, page) : answer);
  }

  function rewrite(scope: Scope, listed: Listed, answer: BufferedAnswer) {
    // Errors and redirects list nothing, and neither does the page of the backend, which stands at unknown paths
    if (!isAnswered(answer) || isPage(answer)) return answer;
    const { shape } = listed;
    const unreadable = (cause: unknown): BufferedAnswer => {
      parts.audit.recordUnreadable(scope, shape.name, cause);
      return parts.mode === 'report' ? answer : emptyAnswer(answer, shape);
    };
    try {
      const index = read(answer, shape);
      if (!(index instanceof Promise)) return rewriteBy(index, scope, listed, answer);
      return index.then((late) => rewriteBy(late, scope, listed, answer), unreadable);
    } catch (cause) {
      return unreadable(cause);
    }
  }

  /** @throws GatewayError `policy_unavailable`, or rejects with it */
  function rewriteBy(index: ListIndex, scope: Scope, listed: Listed, answer: BufferedAnswer) {
    const { shape } = listed;
    const filter = (permits: Permits) => filterList(answer.body, index, permits);
    const finish = ({ body, kept, removed }: FilteredList) => {
      parts.audit.recordList(scope, shape.name, kept, removed);
      return parts.mode === 'report' ? answer : { ...answer, body };
    };
    // The answer is well, it is the policy that cannot be read: a list that is empty by mistake looks like no access
    const giveUp = (cause: unknown) => {
      if (!isPolicyUnavailable(cause)) throw cause;
      if (parts.mode === 'report') return answer;
      if (listed.isPublic) return finish(filter(() => false));
      throw cause;
    };
    const { store } = parts;
    const { principal } = scope;
    const need = principal.kind === 'user' ? parts.judge.needs(principal, () => namedIn(answer.body, index)) : {};
    const filtered = store.patiently(() => store.ask(() => filter(permitsFor(parts, scope, listed)), need));
    return filtered instanceof Promise ? filtered.then(finish, giveUp) : finish(filtered);
  }
}

/** Without a user no model is permitted. @throws GatewayError `policy_unavailable` */
function permitsFor({ store, judge }: FilterParts, scope: Scope, { names }: Listed): Permits {
  const { principal } = scope;
  if (principal.kind !== 'user') return () => false;
  const view = forOneReader(store.current(), principal);
  return (model) => judge.one(view, principal, model, names).effect === 'permit';
}

/** @returns every id that the filter would ask about */
function namedIn(body: Buffer, index: ListIndex): readonly ModelId[] {
  const named: ModelId[] = [];
  filterList(body, index, (model) => named.push(model) > 0);
  return named;
}

/** What the answer to a request lists, and to whom. */
export interface Listed {
  readonly shape: ListShape;
  readonly names: NameSpace;
  /** Shown to everyone: without a user, or without policy, it names no model and goes on. */
  readonly isPublic: boolean;
  /** Where the gate searches, counts and cuts pages itself. */
  readonly pages?: (() => Pages) | undefined;
}

export interface Pages {
  /** What is asked of the backend instead of the target that came. */
  readonly firstTarget: string;
  /** @param filter takes out of a page what the caller may not see @returns the answer with the page that was asked for */
  assemble(
    first: BufferedAnswer,
    ask: AskUpstream,
    filter: (page: BufferedAnswer) => BufferedAnswer | Promise<BufferedAnswer>,
  ): Promise<BufferedAnswer>;
}

/** 0.6.18 serves its page at `GET /api/v1/models`, which it does not know. */
const isPage = ({ headers, body }: BufferedAnswer): boolean =>
  /^text\/html\b/.test(headerValue(headers, 'content-type') ?? '') &&
  /^\s*<(?:!doctype html|html)/i.test(body.toString('latin1', 0, 64));

const isAnswered = ({ status, body }: BufferedAnswer): boolean => status >= 200 && status <= 299 && body.length > 0;

/** The same view, with the reader's grants looked up once a list and not once a model: half of what a list costs. */
function forOneReader(view: StoreView, reader: UserPrincipal): StoreView {
  let grants: readonly GrantSet[] | undefined;
  return {
    grantsOf: (user) => (user === reader ? (grants ??= view.grantsOf(user)) : view.grantsOf(user)),
    preset: (id) => view.preset(id),
    isComposite: (id) => view.isComposite(id),
    connectionPrefixes: () => view.connectionPrefixes(),
    isGrantedAnywhere: (id) => view.isGrantedAnywhere(id),
    hasModelRow: (id) => view.hasModelRow(id),
    user: (id) => view.user(id),
    userOfApiKey: (key) => view.userOfApiKey(key),
  };
}

/** Remembers what identical bytes were read to be. Compared whole: a checksum takes ten times as long, and proves less. */
function createAnswerReader(
  lists: Pick<ListReading, 'read'>,
  providerModels: ProviderModels,
): (answer: BufferedAnswer, shape: ListShape) => ListIndex | Promise<ListIndex> {
  const readAnswers = new LRUCache<string, readonly ReadAnswer[]>({
    maxSize: MAX_CACHED_BYTES,
    sizeCalculation: (answers) => answers.reduce((size, { body }) => size + body.length, 0),
  });
  const forget = (key: string, entry: ReadAnswer): void => {
    const rest = (readAnswers.get(key) ?? []).filter((one) => one !== entry);
    if (rest.length === 0) readAnswers.delete(key);
    else readAnswers.set(key, rest);
  };
  return function read(answer, shape) {
    const encoding = headerValue(answer.headers, 'content-encoding');
    if (encoding !== undefined && encoding !== 'identity') throw new Error(`the answer is encoded as ${encoding}`);
    const key = `${shape.name}:${answer.body.length}`;
    const alike = readAnswers.get(key) ?? [];
    const known = alike.find(({ body }) => body.equals(answer.body));
    if (known !== undefined) return known.index;
    const learn = ({ index, providerIds }: ReadList): ListIndex => {
      providerModels.learn(providerIds);
      return index;
    };
    const list = lists.read(answer.body, shape);
    const index = list instanceof Promise ? list.then(learn) : learn(list);
    const places = Math.max(1, Math.min(MAX_ALIKE, Math.floor(MAX_CACHED_BYTES / answer.body.length)));
    const entry: ReadAnswer = { body: answer.body, index };
    readAnswers.set(key, [entry, ...alike.slice(0, places - 1)]);
    // Requests that ask meanwhile wait for the same reading; the next one tries again
    if (index instanceof Promise) index.catch(() => forget(key, entry));
    return index;
  };
}

function emptyAnswer(answer: BufferedAnswer, shape: ListShape): BufferedAnswer {
  const headers: string[] = [];
  for (let i = 0; i < answer.headers.length; i += 2) {
    const name = answer.headers[i] ?? '';
    if (!BODY_HEADERS.has(name)) headers.push(name, answer.headers[i + 1] ?? '');
  }
  return {
    status: answer.status,
    headers: [...headers, 'content-type', 'application/json'],
    body: Buffer.from(shape.empty),
  };
}

const BODY_HEADERS: ReadonlySet<string> = new Set(['content-type', 'content-encoding']);

function headerValue(headers: readonly string[], name: string): string | undefined {
  return fieldOf(headers, name)?.trim().toLowerCase();
}
