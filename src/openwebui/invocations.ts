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
  namesByPlace,
  parametersOf,
  unanswered,
} from '../references/saved-chat.ts';
import type { StoredChat } from '../store/stored-references.ts';
import { type Judging, judgeSave, namesAt } from './saved-chats.ts';
import type { InvokesSurface } from './surfaces.ts';
import { type OpenWebUiScope, queryValue } from './endpoints.ts';

export async function judgeInvocation(
  judging: Judging,
  surface: InvokesSurface,
  scope: OpenWebUiScope,
  record: InvocationRecord,
): Promise<Decision | undefined> {
  const decision = judgeNamed(judging, surface, scope, record);
  if (decision?.effect === 'deny') return decision;
  const ofStored = surface.runs === undefined ? undefined : await judgeStoredRun(judging, surface.runs, scope, record);
  if (ofStored?.effect === 'deny') return ofStored;
  // The backend stores the user's message with its chat (main.py `chat_completion`, from 0.9), as a save would
  const written = await judgeSave(judging, scope, record.written, record.ids.chat_id || undefined);
  return written?.effect === 'deny' ? written : (decision ?? ofStored);
}

function judgeNamed(
  judging: Judging,
  surface: InvokesSurface,
  scope: OpenWebUiScope,
  record: InvocationRecord,
): Decision | undefined {
  const { references, fanOut } = record;
  const { options } = judging.parts.judge;
  const mentioned = record.mentioned.filter(({ text, likeText }) => !likeText || isKnown(judging, text));
  // First, since report mode sends on what is denied below
  scope.runs = Math.max(1, fanOut.runs, mentioned.length);
  if (references.unreadable !== undefined) return deny('reference_unreadable');
  if (surface.modelRequired && !record.namesModel) return deny('model_missing');
  if (references.direct && options.directConnections === 'refuse') return deny('direct_connection');

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

function isKnown({ view, parts }: Judging, text: string): boolean {
  const model = parseModelId(text);
  if (model === undefined) return false;
  return view.hasModelRow(model) || view.isGrantedAnywhere(model) || parts.judge.providerModels.has(model);
}

/** For each organization its runs, and one for what else its grants permit: it may be what runs. */
function countByOrganization(
  runs: ReadonlyMap<string, number>,
  models: ReadonlySet<ModelId>,
  judgeOne: (model: ModelId) => Decision,
): ReadonlyMap<OrganizationId, number> {
  const payers = new Map<string, OrganizationId>();
  for (const model of models) {
    const decision = judgeOne(model);
    if (decision.effect === 'permit' && decision.grant !== undefined) payers.set(model, decision.grant.organization);
  }
  const counts = new Map<OrganizationId, number>();
  for (const [named, times] of runs) {
    const payer = payers.get(named);
    if (payer !== undefined) counts.set(payer, (counts.get(payer) ?? 0) + times);
  }
  for (const payer of payers.values()) if (!counts.has(payer)) counts.set(payer, 1);
  return counts;
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

/** @returns undefined where nothing is run and none has to be */
async function judgeStoredRun(
  judging: Judging,
  run: NonNullable<InvokesSurface['runs']>,
  scope: OpenWebUiScope,
  record: InvocationRecord,
): Promise<Decision | undefined> {
  const chat = scope.pathIds['id'] ?? record.ids.chat_id;
  const stored = await judging.parts.order.quietly(chat, () => modelsOf(run, judging, scope.pathIds, record));
  const { names, routed = [], isOptional = false } = stored;
  scope.runs += stored.further ?? 0;
  await judging.load([...names, ...routed]);
  const decision = judging.stored([...names, ...routed, ...askedOf(judging, stored.run ?? [], routed)]);
  return decision ?? (isOptional ? undefined : deny('stored_reference'));
}

async function modelsOf(
  run: NonNullable<InvokesSurface['runs']>,
  judging: Judging,
  { id = '', message = '' }: Readonly<Record<string, string>>,
  record: InvocationRecord,
): Promise<StoredModels> {
  const { stored } = judging.parts.store;
  switch (run) {
    case 'messages_of_body':
      return modelsOfContinuedChat(judging, record);
    case 'message_of_path':
      return modelsOfResumedMessage(await stored.chat(id, [message, CHAT_MODELS], judging.user.id), message);
    case 'chat_of_path': {
      // With a model in the body nothing stored is run
      if (record.model !== '') return NOTHING;
      const chat = await stored.chat(id, undefined, judging.user.id);
      return { names: chat === undefined ? [] : everyName(chat.names) };
    }
    case 'replied_message':
      // Most channel messages were written by people, and a reply to them runs nothing
      return { names: await stored.ofChannelMessage(record.ids.reply_to_id), isOptional: true };
    case 'automation_of_path':
      return { names: await stored.ofAutomation(id) };
    case 'preset_version':
      return { names: await stored.ofPresetVersion(record.ids.version_id) };
  }
}

/**
 * The next completion of a chat. Background tasks run on the model that their message keeps: the message being continued
 * (0.12), each of a fan-out, and, unless the provider streams its answer, the one being answered (0.6). `stream` does not
 * tell: `params`, a preset and the provider itself may have it otherwise. Messages of sub-agents and timers that have no
 * answer are run after it. What comes from an SDK belongs to no chat: nothing is stored.
 */
async function modelsOfContinuedChat(judging: Judging, record: InvocationRecord): Promise<StoredModels> {
  const { stored } = judging.parts.store;
  const { ids } = record;
  if (record.hasOddId) return { names: [UNREADABLE] };
  if (ids.chat_id === '') return NOTHING;
  const messages = [ids.assistant_message_id, ids.id, ...record.messageIds].filter(Boolean);
  const chat = await stored.chat(ids.chat_id, messages, judging.user.id);
  if (chat === undefined) return NOTHING;
  // Up to 0.7 the backend continues any chat, and its owner could change the model while it answers
  if (!chat.checkedByBackend && chat.owner !== judging.user.id) return { names: [UNREADABLE] };
  const pending = unanswered(chat.names);
  const timers = pending.length === 0 ? [] : await stored.ofTimers(chat.names.timers);
  const names = namesAt(chat.names, [...messages, ...pending]);
  return { names: [...names, ...timers], isOptional: true, further: pending.length };
}

/**
 * Runs the message's model, or else the chat's first, with the parameters of both (utils/tool_approval.py
 * `build_tool_approval_resume_payload`, 0.12.4). The message's row may be made inside of the request: both forms count.
 */
function modelsOfResumedMessage(chat: StoredChat | undefined, message: string): StoredModels {
  if (chat === undefined) return { names: [] };
  const pending = unanswered(chat.names);
  const byPlace = namesByPlace(chat.names);
  const at = (...places: string[]) => places.flatMap((place) => byPlace.get(place) ?? []);
  // A reply may lose its model before it is run: then the chat's own counts
  const run = at(message, CHAT_MODELS);
  // Parameters alone are no model
  if (run.length === 0) return { names: [] };
  const routed = at(parametersOf(message), CHAT_PARAMETERS);
  return { names: [...run, ...namesAt(chat.names, pending)], run, routed, further: pending.length };
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
