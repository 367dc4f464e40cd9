/**
 * Judges requests that run models: those that they name, and those that a stored object names for them. A request goes on
 * only if every model that it will run can be named.
 */
import type { OrganizationId } from '../policy/principal.ts';
import { askedBeside } from '../policy/decide.ts';
import { type Decision, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import type { InvocationRecord } from '../references/records.ts';
import {
  CHAT_MODELS,
  CHAT_PARAMETERS,
  UNREADABLE,
  everyName,
  namesAt,
  parametersOf,
} from '../references/saved-chat.ts';
import { type Judging, judgeSave, ofMessages } from './saved-chats.ts';
import type { InvokesSurface } from './surfaces.ts';

type StoredRun = NonNullable<InvokesSurface['runs']>;
import { queryValue } from './endpoints.ts';

export async function judgeInvocation(judging: Judging, surface: InvokesSurface, record: InvocationRecord) {
  const decision = judgeNamed(judging, surface, record);
  if (decision?.effect === 'deny') return decision;
  const ofStored = surface.runs === undefined ? undefined : await judgeStoredRun(judging, surface.runs, record);
  if (ofStored?.effect === 'deny') return ofStored;
  // The backend stores the user's message with its chat (main.py `chat_completion`, from 0.9), as a save would
  const written = await judgeSave(judging, record.written, record.ids.chat_id || undefined);
  return written?.effect === 'deny' ? written : (decision ?? ofStored);
}

function judgeNamed(judging: Judging, surface: InvokesSurface, record: InvocationRecord): Decision | undefined {
  const { scope } = judging;
  const { references, fanOut } = record;
  const mentioned = record.mentioned.filter(({ text, likeText }) => !likeText || isKnown(judging, text));
  // First, since report mode sends on what is denied below
  scope.runs = Math.max(1, fanOut.runs, mentioned.length);
  if (references.unreadable !== undefined) return deny('reference_unreadable');
  if (surface.modelRequired && !record.namesModel) return deny('model_missing');
  const refusesDirect = judging.judge.options.directConnections === 'refuse';
  if (references.direct && refusesDirect) return deny('direct_connection');

  const run = [...references.models].filter((model) => !references.routed.has(model));
  const models = new Set([...references.models, ...askedOf(judging, run, references.routed)]);
  const ofQuery = surface.query === undefined ? undefined : queryValue(scope.query, surface.query);
  for (const text of [...mentioned.map((mention) => mention.text), ...(ofQuery === undefined ? [] : [ofQuery])]) {
    const model = parseModelId(text);
    if (model === undefined) return deny('reference_unreadable');
    models.add(model);
  }
  if (surface.names === 'media') {
    // A provider of pictures or speech takes one model, by its name; what routes beside it may be any model
    if (record.hasOddModel) return deny('reference_unreadable');
    const denial = judging.all(references.routed, 'provider');
    if (denial?.effect === 'deny') return denial;
  }
  const isDirect = references.direct && surface.direct === true;
  const decision = isDirect ? judgeDirect(judging, models) : judging.all(models, surface.names);
  if (decision?.effect !== 'deny' && (scope.runs > 1 || models.size > 1)) {
    const runs = fanOut.runs > 0 ? fanOut.named : new Map(mentioned.map(({ text }) => [text, 1]));
    scope.runsByOrganization = countByOrganization(runs, models, (model) => judging.one(model, surface.names));
  }
  return decision;
}

/**
 * A model of the caller's own browser needs no grant. From 0.9.3 a server model of the same id would answer instead, so an
 * id that any organization was granted, or that has a row, is judged as usual.
 */
function judgeDirect(judging: Judging, models: ReadonlySet<ModelId>): Decision | undefined {
  const { view } = judging;
  return judging.all([...models].filter((model) => view.isGrantedAnywhere(model) || view.hasModelRow(model)));
}

function isKnown({ view, judge }: Judging, text: string): boolean {
  const model = parseModelId(text);
  if (model === undefined) return false;
  return view.hasModelRow(model) || view.isGrantedAnywhere(model) || judge.providerModels.has(model);
}

/** For each organization its runs, and one for what else its grants permit: it may be what runs. */
function countByOrganization(runs: Map<string, number>, models: Set<ModelId>, judge: (model: ModelId) => Decision) {
  const counts = new Map<OrganizationId, number>();
  for (const model of models) {
    const decision = judge(model);
    const payer = decision.effect === 'permit' ? decision.grant?.organization : undefined;
    if (payer !== undefined) counts.set(payer, (counts.get(payer) ?? 0) + (runs.get(model) ?? 0));
  }
  return new Map([...counts].map(([payer, times]) => [payer, Math.max(1, times)]));
}

interface StoredModels {
  readonly names: readonly string[];
  /** Sent to the connections of the models that `run`. */
  readonly routed?: readonly string[];
  readonly run?: readonly string[];
  /** The request itself names a model as well, so that no name here is no denial. */
  readonly isOptional?: boolean;
  /** Runs that the backend starts besides the one that is asked for. */
  readonly further?: number;
}

const NOTHING: StoredModels = { names: [], isOptional: true };

type ReadStoredRun = (judging: Judging, record: InvocationRecord, pathId: string) => Promise<StoredModels>;

/** A stored object that a request runs, and where its id stands. The database is asked which models it names. */
const STORED_RUNS: Record<StoredRun, ReadStoredRun> = {
  /** The messages of `chat_id` that the body names: background tasks run on the model that they store. */
  messages_of_body: modelsOfContinuedChat,
  /** The tool call of the path's `:message` in chat `:id`, which resumes a completion. */
  message_of_path: modelsOfResumedMessage,
  /** Any message of the path's chat `:id`, unless the body names a model: then nothing stored is run. */
  async chat_of_path({ store, user }, { model }, id) {
    if (model !== '') return NOTHING;
    const chat = await store.stored.chat(id, undefined, user.id);
    return { names: chat === undefined ? [] : everyName(chat.names) };
  },
  /** The channel message of `reply_to_id`. People wrote most of them, and a reply to those runs nothing. */
  replied_message: async ({ store }, { ids }) => ({
    names: await store.stored.ofChannelMessage(ids.reply_to_id),
    isOptional: true,
  }),
  /** The automation of the path's `:id`. */
  automation_of_path: async ({ store }, _record, id) => ({ names: await store.stored.ofAutomation(id) }),
  /** The earlier version `version_id` of a preset, which becomes the current one. */
  preset_version: async ({ store }, { ids }) => ({ names: await store.stored.ofPresetVersion(ids.version_id) }),
};

/** @returns undefined where nothing is run and none has to be */
async function judgeStoredRun(judging: Judging, run: StoredRun, record: InvocationRecord) {
  const { order, scope } = judging;
  const { id } = scope.pathIds;
  const read = STORED_RUNS[run];
  const stored = await order.quietly(id ?? record.ids.chat_id, () => read(judging, record, id ?? ''));
  const { names, routed = [], isOptional = false, further = 0 } = stored;
  scope.runs += further;
  await judging.load([...names, ...routed]);
  const decision = judging.stored([...names, ...routed, ...askedOf(judging, stored.run ?? [], routed)]);
  return decision ?? (isOptional ? undefined : deny('stored_reference'));
}

/**
 * The next completion of a chat. Background tasks run on the model that their message keeps: the message being continued
 * (0.12), each of a fan-out, and, unless the provider streams its answer, the one being answered (0.6). `stream` does not
 * tell: `params`, a preset and the provider itself may have it otherwise. Messages of sub-agents and timers that have no
 * answer are run after it. What comes from an SDK belongs to no chat: nothing is stored.
 */
async function modelsOfContinuedChat({ store, user }: Judging, record: InvocationRecord): Promise<StoredModels> {
  const { ids } = record;
  if (record.hasOddId) return { names: [UNREADABLE] };
  if (ids.chat_id === '') return NOTHING;
  const messages = [ids.assistant_message_id, ids.id, ...record.messageIds].filter(Boolean);
  const chat = await store.stored.chat(ids.chat_id, messages, user.id);
  if (chat === undefined) return NOTHING;
  // Up to 0.7 the backend continues any chat, and its owner could change the model while it answers
  if (!chat.checkedByBackend && chat.owner !== user.id) return { names: [UNREADABLE] };
  const { waiting } = chat.names;
  const timers = waiting.length === 0 ? [] : await store.stored.ofTimers(chat.names.timers);
  const names = namesAt(chat.names, ofMessages([...messages, ...waiting]));
  return { names: [...names, ...timers], isOptional: true, further: waiting.length };
}

/**
 * Runs the message's model, or else the chat's first, with the parameters of both (utils/tool_approval.py
 * `build_tool_approval_resume_payload`, 0.12.4). The message's row may be made inside of the request: both forms count.
 */
async function modelsOfResumedMessage({ store, user, scope }: Judging, _record: InvocationRecord, id: string) {
  const { message = '' } = scope.pathIds;
  const names = (await store.stored.chat(id, [message, CHAT_MODELS], user.id))?.names;
  // A reply may lose its model before it is run: then the chat's own counts
  const run = names === undefined ? [] : namesAt(names, [message, CHAT_MODELS]);
  // Parameters alone are no model
  if (names === undefined || run.length === 0) return { names: [] };
  const routed = namesAt(names, [parametersOf(message), CHAT_PARAMETERS]);
  const further = names.waiting.length;
  return { names: [...run, ...namesAt(names, ofMessages(names.waiting))], run, routed, further };
}

/** What the connections of the models that run take other names for: `a` beside `x.b` is `x.a` there. Asked once for each. */
function askedOf({ view }: Judging, run: readonly string[], routed: Iterable<string>): readonly ModelId[] {
  const named = [...routed].map(parseModelId).filter((model) => model !== undefined);
  if (named.length === 0) return [];
  const byConnections = new Map<string, ModelId>();
  for (const model of run.map(parseModelId).filter((one) => one !== undefined)) {
    const sent = view.preset(model)?.base ?? model;
    const connections = view.connectionPrefixes().filter((prefix) => sent.startsWith(prefix));
    byConnections.set(connections.join('\0'), sent);
  }
  return [...byConnections.values()].flatMap((sent) => named.flatMap((name) => askedBeside(view, sent, name)));
}
