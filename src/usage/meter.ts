/**
 * Reads usage out of an answer while it passes, and holds back its end until what was read is kept: who saw the end was
 * counted. The bytes that go out are those that came.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { tryParseJson } from '../references/json.ts';
import type { AnswerTap } from '../transport/exchange.ts';
import {
  type AnswerForm,
  type AnswerPart,
  type Counts,
  isGenerationId,
  joinCounts,
  readPart,
  textOf,
  toUsage,
} from './answer-reading.ts';
import { JsonMembers } from './json-members.ts';
import { type Fate, Records } from './records.ts';
import type { Usage } from './usage.ts';

/** What is known of an answer at its end. What is not known is undefined. */
export interface AnswerFacts {
  /** Undefined where not even the head has come. */
  readonly status: number | undefined;
  readonly usage: Usage | undefined;
  readonly answeredModel: string | undefined;
  /** Of OpenRouter alone: by it the usage can be asked for later. */
  readonly generationId: string | undefined;
  /** Of the body, as the provider has sent it. */
  readonly bytesOut: number;
  readonly pictures: number | undefined;
  /** The provider or the client has broken off before its last event, or its end, has come. */
  readonly isCut: boolean;
}

interface MeterOptions {
  readonly form: AnswerForm;
  /** The event with usage alone is left out: the door has asked for it, and the caller had not. Read when the answer begins. */
  readonly hidesUsage: boolean;
  /** Called once, as soon as the generation id is known. */
  readonly identified: (generationId: string) => void;
  /** Called once. The end of the answer waits for it; it goes out, too, where this fails. */
  readonly ended: (facts: AnswerFacts) => void | Promise<void>;
}

/** What reads a body of one content type. */
interface Passage {
  take(chunk: Buffer): Buffer;
  end(): Buffer;
  readonly isOver: boolean;
  readonly pictures?: number | undefined;
}

const NOTHING = Buffer.alloc(0);
const UNREAD: Passage = { take: (chunk) => chunk, end: () => NOTHING, isOver: false };

export function createMeter(options: MeterOptions): AnswerTap {
  const { form, identified, ended } = options;
  let passage = UNREAD;
  let status: number | undefined;
  let counts: Counts | undefined;
  let areOfStart = false;
  let answeredModel: string | undefined;
  let generationId: string | undefined;
  let bytesOut = 0;
  let isEnded = false;

  const identify = (id: string) => {
    if (generationId !== undefined) return;
    generationId = id;
    void settled(() => identified(id));
  };
  const told = (part: AnswerPart) => {
    if (part.counts !== undefined) {
      counts = joinCounts(counts, part.counts);
      areOfStart = part.isStart;
    }
    answeredModel ??= part.model;
    if (part.id !== undefined && isGenerationId(part.id)) identify(part.id);
  };
  const end = (isCut: boolean): Promise<void> | undefined => {
    if (isEnded) return undefined;
    isEnded = true;
    // what was read to its last words, and then left, is not the nothing, or the one token, with which it began
    const said = areOfStart ? undefined : toUsage(form, counts);
    const usage = isCut && said?.output === 0 ? undefined : said;
    const { pictures } = passage;
    return settled(() => ended({ status, usage, answeredModel, generationId, bytesOut, pictures, isCut }));
  };
  return {
    begin(answered, headers) {
      status = answered;
      if (answered >= 400 || isCoded(headers)) return;
      const id = textOf(headers['x-generation-id']);
      if (id !== undefined) identify(id);
      const framing = framingOf(headers);
      const knowsModel = () => answeredModel !== undefined;
      if (framing === 'whole') passage = createWhole(form, told);
      else if (framing !== undefined)
        passage = createStream({ form, are: framing, hidesUsage: options.hidesUsage, told, knowsModel });
    },
    take(chunk) {
      bytesOut += chunk.length;
      const out = passage.take(chunk);
      return passage.isOver ? after(end(false), out) : out;
    },
    end() {
      const rest = passage.end();
      return after(end(false), rest);
    },
    cut: () => void end(true),
  };
}

/** What fails in the ledger is logged there; the answer goes on. @returns undefined where nothing is waited for */
function settled(call: () => void | Promise<void>): Promise<void> | undefined {
  try {
    return call()?.catch(() => undefined);
  } catch {
    return undefined;
  }
}

const after = (wait: Promise<void> | undefined, bytes: Buffer): Buffer | Promise<Buffer> =>
  wait === undefined ? bytes : wait.then(() => bytes);

/** The door asks for no coding; of bytes that have one nothing is read. */
const isCoded = (headers: IncomingHttpHeaders): boolean => (headers['content-encoding'] ?? 'identity') !== 'identity';

function framingOf(headers: IncomingHttpHeaders): 'events' | 'lines' | 'whole' | undefined {
  // undici gives several lines as a list
  const type = [headers['content-type']].flat()[0]?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type === 'text/event-stream') return 'events';
  if (type === 'application/x-ndjson') return 'lines';
  return /^application\/(?:[^/]+\+)?json$/.test(type) ? 'whole' : undefined;
}

const MEMBERS: ReadonlySet<string> = new Set(['id', 'model', 'usage', 'prompt_eval_count', 'eval_count']);

/** The last chunk that has come is held back. */
function createWhole(form: AnswerForm, told: (part: AnswerPart) => void): Passage {
  const members = new JsonMembers({
    names: MEMBERS,
    found: (name, value) => told(readPart(form, { [name]: value })),
    counted: form === 'images' ? 'data' : undefined,
  });
  let last: Buffer = NOTHING;
  return {
    take(chunk) {
      members.write(chunk);
      const out = last;
      last = chunk;
      return out;
    },
    end: () => last,
    isOver: false,
    get pictures() {
      return members.elements;
    },
  };
}

/** A record without any of these texts says nothing of its usage. */
const MATTERS =
  /"usage"\s*:\s*[^n\s]|\[DONE\]|"response\.(?:completed|incomplete|failed)"|"message_stop"|"done"\s*:\s*true/;
/** At the beginning, where the model and the id are; Azure's first event has neither. */
const READ_FOR_MODEL = 4;

interface StreamOptions extends Pick<MeterOptions, 'form' | 'hidesUsage'> {
  readonly are: 'events' | 'lines';
  readonly told: (part: AnswerPart) => void;
  readonly knowsModel: () => boolean;
}

function createStream({ form, are, hidesUsage, told, knowsModel }: StreamOptions): Passage {
  let read = 0;
  return new Records({
    are,
    mayMatter: (text) => (read < READ_FOR_MODEL && !knowsModel()) || MATTERS.test(text),
    read(record): Fate {
      const data = are === 'events' ? dataOf(record) : record;
      if (data === '') return 'pass';
      if (data === '[DONE]') return 'last';
      read++;
      const part = readPart(form, tryParseJson(data));
      told(part);
      if (part.isLast) return 'last';
      return hidesUsage && part.isUsageAlone ? 'leaveOut' : 'pass';
    },
  });
}

/** Of an event (HTML Living Standard 9.2.6), without space around it. */
function dataOf(event: string): string {
  let data = '';
  // a byte order mark may stand before the first
  for (const line of event.replace(/^\ufeff/, '').split(/\r\n|\r|\n/))
    if (line.startsWith('data:')) data += `${line.slice(5)}\n`;
  return data.trim();
}
