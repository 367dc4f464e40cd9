/** The models that the fields of a form name: `multipart/form-data` and `application/x-www-form-urlencoded`. */
import { GatewayError } from '../errors.ts';
import { boundJson, boundRecord } from './bounds.ts';
import { parseStrictJson, storedReadings } from './json.ts';
import { namesModels } from './model-keys.ts';
import {
  type ChatForm,
  type InvocationRecord,
  type InvocationRules,
  type PresetForm,
  type PresetRecord,
  namesOfSave,
  readInvocation,
  readPresets,
} from './records.ts';
import { type References, collectReferences } from './references.ts';
import type { ChatNames } from './saved-chat.ts';

/** What stands in fields that name models; undefined where it is no text. Undefined as a whole where it is no form. */
type FormRecord = readonly (string | undefined)[] | undefined;

/** A field takes a hundred times the memory of its bytes. */
const MOST_FIELDS = 10_000;

/** @throws GatewayError `body_too_complex` */
async function readForm(body: Buffer, contentType: string): Promise<FormRecord> {
  boundFields(body, contentType);
  try {
    const response = new Response(new Blob([new Uint8Array(body)]), { headers: { 'content-type': contentType } });
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- an admin's body, bounded in length and fields before
    const form = await response.formData();
    const named = [...form].filter(([name]) => namesModels(name));
    return named.map(([, value]) => (typeof value === 'string' ? value : undefined));
  } catch {
    return undefined;
  }
}

function boundFields(body: Buffer, contentType: string): void {
  const separator = /^\s*multipart\//i.test(contentType) ? '\r\n--' : '&';
  let fields = 0;
  for (let at = body.indexOf(separator); at !== -1; at = body.indexOf(separator, at + 1)) {
    if (++fields <= MOST_FIELDS) continue;
    throw new GatewayError('body_too_complex', {
      detail: `Found a form of more than ${MOST_FIELDS.toLocaleString('en')} fields, as many as are read. Send fewer in one request.`,
    });
  }
}

// What a body says of models, as a small plain record: pure, so that a long body can be read in a thread and only the
// record comes back. Judges look at the record alone.

/** What is asked of a body, by the kind of record that answers. Plain values, which a thread can be sent. */
export type BodyQuestion =
  | ({ readonly kind: 'invocation'; readonly mayBeEmpty: boolean } & InvocationRules)
  | {
      readonly kind: 'presets';
      readonly mayBeEmpty: boolean;
      readonly form: PresetForm;
      readonly queryId: string | undefined;
    }
  | { readonly kind: 'save'; readonly form: ChatForm }
  /** JSON or anything else; what cannot be told from JSON and is not clean is refused. */
  | { readonly kind: 'any' }
  | { readonly kind: 'form'; readonly contentType: string };

export interface BodyRecords {
  readonly invocation: InvocationRecord;
  /** Undefined where the body has not the form that the backend reads. */
  readonly presets: PresetRecord | undefined;
  readonly save: ChatNames;
  /** Undefined where the body is no JSON. */
  readonly any: References | undefined;
  readonly form: FormRecord;
}

export type BodyRecord = BodyRecords[keyof BodyRecords];

/**
 * @throws GatewayError `body_unreadable` (400) where it is not clean JSON, `body_too_complex` (413) where it holds too much
 */
export async function readRecord(question: BodyQuestion, body: Buffer): Promise<BodyRecord> {
  if (question.kind !== 'form' && body.length > WEIGHED_FROM) boundJson(body);
  const record = await read(question, body);
  boundRecord(record);
  return record;
}

function read(question: BodyQuestion, body: Buffer): BodyRecord | Promise<BodyRecord> {
  const parse = (mayBeEmpty: boolean) => (body.length === 0 && mayBeEmpty ? undefined : parseStrictJson(body));
  switch (question.kind) {
    case 'invocation':
      return readInvocation(parse(question.mayBeEmpty), body, question);
    case 'presets':
      return readPresets(parse(question.mayBeEmpty), question.form, question.queryId);
    case 'save':
      return namesOfSave(question.form, storedReadings(parse(true), body));
    case 'any': {
      const value = parsePossibleJson(body);
      return value === undefined ? undefined : collectReferences(value);
    }
    case 'form':
      return readForm(body, question.contentType);
  }
}

/**
 * The content type never decides: raw-body handlers of the backend parse whatever comes.
 * @throws GatewayError `body_unreadable` for what begins like JSON, in any encoding that Python reads, and is not clean
 */
function parsePossibleJson(body: Buffer): unknown {
  try {
    return parseStrictJson(body);
  } catch (error) {
    if (error instanceof GatewayError && !BEGINS_LIKE_JSON.test(body.toString('latin1', 0, 64))) return undefined;
    throw error;
  }
}

/** White space, byte order marks and the NUL bytes of UTF-16 and UTF-32 may stand before the bracket. */
const BEGINS_LIKE_JSON = /^[\s\0\xef\xbb\xbf\xfe\xff]*[{[]/;

/** Shorter bodies are never too heavy (`boundJson`). */
const WEIGHED_FROM = 1024 * 1024;
