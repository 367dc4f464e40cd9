/** What a route of the sample backend is, and how FastAPI finds one: the path decoded once, the first pattern that fits. */
import type { JsonObject, SampleDirectory, SampleUser } from './directory.ts';
import type { ProviderModel, SampleModels } from './models.ts';

export interface SampleContext {
  readonly directory: SampleDirectory;
  readonly models: SampleModels;
  readonly provider: readonly ProviderModel[];
  readonly secretKey: string;
  /** Ids of the models that were run, oldest first. */
  readonly invoked: string[];
}

export interface SampleRequest {
  readonly method: string;
  /** Decoded once, without query. */
  readonly path: string;
  /** The last of repeated parameters, as Starlette reads them. */
  readonly query: ReadonlyMap<string, string>;
  /** Values of the `{name}` parts of the pattern. */
  readonly params: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Present on every route that is not public. */
  readonly user: SampleUser | undefined;
}

export type SampleReply =
  | { readonly status?: number; readonly headers?: Readonly<Record<string, string>>; readonly json: unknown }
  | { readonly contentType: string; readonly stream: Iterable<string> };

export interface SampleRoute {
  /** `*` stands for every method. */
  readonly method: string;
  readonly path: string;
  readonly access: 'public' | 'user' | 'admin';
  answer(request: SampleRequest, context: SampleContext): SampleReply;
}

type Answer = SampleRoute['answer'];

/** @param path FastAPI's notation: `{id}` is one segment, `{path:path}` the rest */
export const route = (
  method: string,
  path: string,
  answer: Answer,
  access: SampleRoute['access'] = 'user',
): SampleRoute => ({
  method,
  path,
  access,
  answer,
});

/** The body as the object that most routes want; `{}` where it is none, as the raw-body routes of old releases do. */
export function readBody({ body }: SampleRequest): JsonObject {
  const value = body.length === 0 ? {} : readLaxJson(body);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

export const failure = (status: number, detail: unknown): SampleReply => ({ status, json: { detail } });

export interface Target {
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
}

/** The request target as uvicorn with httptools reads it: absolute forms are taken, a fragment is cut off. */
export function readTarget(target: string): Target {
  const [beforeFragment = ''] = target.replace(/^https?:\/\/[^/?#]*/i, '').split('#', 1);
  const mark = beforeFragment.indexOf('?');
  const path = mark === -1 ? beforeFragment : beforeFragment.slice(0, mark);
  const query = new Map(new URLSearchParams(mark === -1 ? '' : beforeFragment.slice(mark + 1)));
  return { path: decodeOnce(path), query };
}

/** Undecodable escapes stay or become U+FFFD, as Python's `unquote` does; never an error. */
function decodeOnce(path: string): string {
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString());
}

/** Compiled once: the route and what its pattern captured, for the first one that fits. */
export function createMatcher(routes: readonly SampleRoute[]) {
  const compiled = routes.map((candidate) => ({ candidate, pattern: compile(candidate.path) }));
  return (method: string, path: string): { route: SampleRoute; params: Record<string, string> } | undefined => {
    for (const { candidate, pattern } of compiled) {
      if (candidate.method !== '*' && candidate.method !== method) continue;
      const match = pattern.exec(path);
      if (match !== null) return { route: candidate, params: { ...match.groups } };
    }
    return undefined;
  };
}

/** Python's `$` also matches before one final newline: `/api/chat/completions%0a` is served. */
function compile(path: string): RegExp {
  const escaped = path.replace(/[.+*?^$()|[\]\\]/g, String.raw`\$&`);
  const source = escaped.replaceAll(/\{(\w+):path\}/g, '(?<$1>.*)').replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)');
  return new RegExp(`^${source}\n?$`, 's');
}

/**
 * JSON as the backend reads it (Python's `json.loads` on bytes): UTF-8, UTF-16 and UTF-32 with or without a byte order
 * mark, `NaN` and `Infinity`, the last of repeated keys. Laxer than the gate on purpose: a body that slips past the gate
 * unread must have its effect here.
 * @returns undefined where Python would not read it either
 */
export function readLaxJson(bytes: Buffer): unknown {
  const text = decodeText(bytes).replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (token) =>
    token.startsWith('"') ? token : 'null',
  );
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Python's `json.detect_encoding`: the mark, or where the zero bytes of the first character stand. */
function decodeText(bytes: Buffer): string {
  const [a, b, c, d] = bytes;
  if (a === 0xff && b === 0xfe && !(c === 0 && d === 0)) return new TextDecoder('utf-16le').decode(bytes);
  if (a === 0xfe && b === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  if (a === 0 && b === 0) return decodeUtf32(bytes, 'readUInt32BE');
  if (b === 0 && c === 0 && d === 0) return decodeUtf32(bytes, 'readUInt32LE');
  if (a === 0xff && b === 0xfe) return decodeUtf32(bytes, 'readUInt32LE');
  if (a === 0) return new TextDecoder('utf-16be').decode(bytes);
  if (b === 0) return new TextDecoder('utf-16le').decode(bytes);
  return new TextDecoder('utf-8').decode(bytes);
}

function decodeUtf32(bytes: Buffer, read: 'readUInt32BE' | 'readUInt32LE'): string {
  let text = '';
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const point = bytes[read](at);
    if (point <= 0x10ffff && point !== 0xfeff) text += String.fromCodePoint(point);
  }
  return text;
}
