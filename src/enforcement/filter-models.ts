import { crc32 } from 'node:zlib';
import { LRUCache } from 'lru-cache';
import type { MiddlewareHandler } from 'hono';
import type { ModelId } from '../policy/model-id.ts';
import type { GateEnv, Scope } from '../scope.ts';
import type { Store } from '../store/store-view.ts';
import type { BufferedAnswer } from '../transport/exchange.ts';
import { filterList } from './filter-list.ts';
import type { Judge } from './judge.ts';
import type { ListIndex } from './list-index.ts';
import { indexList } from './list-index.ts';
import type { ListShape } from './list-shapes.ts';
import type { ListsSurface } from './surfaces.ts';

export interface FilterParts {
  readonly store: Pick<Store, 'current'>;
  readonly judge: Judge;
  readonly mode: 'enforce' | 'report';
  readonly recordList: (shape: ListShape, kept: number, removed: number) => void;
  /** An answer that could not be read and was replaced by an empty list: an error for the operator. */
  readonly reportUnreadable: (scope: Scope, shape: ListShape, cause: unknown) => void;
}

/** Answers of the backend that were read before, with the bytes they were read from. */
interface ReadAnswer {
  readonly body: Buffer;
  readonly index: ListIndex;
}

const MAX_CACHED_BYTES = 32 * 1024 * 1024;

/**
 * Attaches to the request what its answer must go through if it lists models. Decisions are made anew for every
 * answer; only the reading of identical bytes is remembered.
 */
export function filterModels(parts: FilterParts): MiddlewareHandler<GateEnv> {
  const readAnswers = new LRUCache<string, ReadAnswer>({
    maxSize: MAX_CACHED_BYTES,
    sizeCalculation: ({ body }) => body.length,
  });

  return function filterModels(c, next) {
    const scope = c.get('scope');
    const { surface } = scope;
    if (surface.kind === 'lists' && !isShownWhole(surface, scope)) {
      scope.rewrite = (answer) => rewrite(scope, surface, answer);
    }
    return next();
  };

  function rewrite(scope: Scope, surface: ListsSurface, answer: BufferedAnswer): BufferedAnswer {
    // Errors and redirects list nothing
    if (answer.status < 200 || answer.status > 299 || answer.body.length === 0) return answer;
    const { shape } = surface;
    try {
      const index = read(answer, shape);
      const { body, kept, removed } = filterList(answer.body, index, permitsFor(scope, surface));
      parts.recordList(shape, kept, removed);
      return parts.mode === 'report' ? answer : { ...answer, body };
    } catch (cause) {
      parts.reportUnreadable(scope, shape, cause);
      return parts.mode === 'report' ? answer : emptyAnswer(answer, shape);
    }
  }

  function read(answer: BufferedAnswer, shape: ListShape): ListIndex {
    const encoding = headerValue(answer.headers, 'content-encoding');
    if (encoding !== undefined && encoding !== 'identity') throw new Error(`the answer is encoded as ${encoding}`);
    const key = `${shape.name}:${answer.body.length}:${crc32(answer.body)}`;
    const known = readAnswers.get(key);
    // A checksum is no proof: the bytes themselves are compared
    if (known?.body.equals(answer.body) === true) return known.index;
    const index = indexList(answer.body, shape);
    readAnswers.set(key, { body: answer.body, index });
    return index;
  }

  /** Without a user, or without policy, nobody is permitted anything. */
  function permitsFor(scope: Scope, surface: ListsSurface): (model: ModelId) => boolean {
    const { principal } = scope;
    if (principal.kind !== 'user') return () => false;
    try {
      const view = parts.store.current();
      return (model) => parts.judge.one(view, principal, model, surface.names).effect === 'permit';
    } catch (error) {
      if (surface.withoutUser === 'empty') return () => false;
      throw error;
    }
  }
}

const isShownWhole = (surface: ListsSurface, { principal }: Scope) =>
  surface.admins === 'pass' && principal.kind === 'user' && principal.role === 'admin';

function emptyAnswer(answer: BufferedAnswer, shape: ListShape): BufferedAnswer {
  const headers: string[] = [];
  for (let i = 0; i < answer.headers.length; i += 2) {
    const name = answer.headers[i] ?? '';
    if (!BODY_HEADERS.has(name.toLowerCase())) headers.push(name, answer.headers[i + 1] ?? '');
  }
  return {
    status: answer.status,
    headers: [...headers, 'Content-Type', 'application/json'],
    body: Buffer.from(shape.empty),
  };
}

const BODY_HEADERS: ReadonlySet<string> = new Set(['content-type', 'content-encoding']);

function headerValue(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2)
    if (headers[i]?.toLowerCase() === name) return headers[i + 1]?.trim().toLowerCase();
  return undefined;
}
