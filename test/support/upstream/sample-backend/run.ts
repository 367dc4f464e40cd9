/**
 * Which models a request makes the backend ask its providers for. There is no access rule in here, as with
 * BYPASS_MODEL_ACCESS_CONTROL=true: whatever passes the gate runs. Where releases differ, every way that one of them has
 * to reach a model is open (Open WebUI 0.6 to 0.12: `main.py`, `utils/payload.py`, routers `openai` and `ollama`).
 */
import type { JsonObject, SampleDirectory } from './directory.ts';
import type { ProviderModel } from './models.ts';

export interface RunContext {
  readonly directory: SampleDirectory;
  readonly provider: readonly ProviderModel[];
}

/** A chat completion in any dialect, with everything that the body makes run beside its `model`. */
export function modelsOfChat(body: JsonObject, context: RunContext): readonly string[] {
  const runs = fanOut(body).flatMap((model) => modelsOfRun(model, body, context));
  return [...runs, ...modelsOfBackgroundTasks(body, context), ...modelsOfPendingMessages(body, context)];
}

/** One run: `params` may replace the model, a preset leads to its base, and the provider may fall back to others. */
export function modelsOfRun(model: string, body: JsonObject, context: RunContext): readonly string[] {
  const params = mergedParams(body['params']);
  const named = text(params['model']) ?? model;
  const { directory } = context;
  const preset = directory.modelRows().find((row) => row.id === named && row.base_model_id !== null);
  const presetParams = mergedParams(preset?.params);
  const main = text(presetParams['model']) ?? preset?.base_model_id ?? named;
  const fallbacks = [body, params, presetParams, toObject(body['extra_body'])].flatMap(fallbackModels);
  return [pickFromArena(main, context), ...fallbacks];
}

/** Embeddings, Responses and Ollama's own routes: the id goes to the provider as it is, presets are not resolved. */
export const modelsOfRawRun = (model: string, body: JsonObject): readonly string[] => [model, ...fallbackModels(body)];

/** Does the backend know the id? It refuses others, unless the model is one of the browser's own (`direct`). */
export function isKnownModel(model: string, context: RunContext): boolean {
  return (
    context.provider.some(({ id }) => id === model) || context.directory.modelRows().some(({ id }) => id === model)
  );
}

/** The model that a stored chat runs on: that of the message, else of the last one that has a model, else the chat's. */
export function modelOfStoredChat(
  chatId: string,
  messageId: string | undefined,
  directory: SampleDirectory,
): string | undefined {
  const chat = toObject(directory.stored('chat', chatId)?.['chat']);
  const messages = toObject(toObject(chat['history'])['messages']);
  const models = Object.values(messages).map((message) => text(toObject(message)['model']));
  const named = messageId === undefined ? undefined : text(toObject(messages[messageId])['model']);
  return named ?? models.findLast((model) => model !== undefined) ?? text(toList(chat['models'])[0]);
}

/** From 0.9: `message_ids` starts one run an entry, each with a model of its own. */
function fanOut(body: JsonObject): readonly string[] {
  const ids = body['message_ids'];
  const models = Array.isArray(ids)
    ? ids.map((entry) => text(toObject(entry)['model_id']))
    : Object.keys(toObject(ids));
  const named = models.filter((model) => model !== undefined);
  return named.length > 0 ? named : [text(body['model']) ?? ''];
}

/** 0.6.15: titles, tags and follow-ups run on the model that the *stored* message names. */
function modelsOfBackgroundTasks(body: JsonObject, { directory }: RunContext): readonly string[] {
  const wanted = Object.values(toObject(body['background_tasks'])).some(Boolean);
  if (!wanted || text(body['chat_id']) === undefined) return [];
  const messages = storedMessages(body['chat_id'], directory);
  // 0.12 makes a string of whatever the id is
  const id = String(body['assistant_message_id'] ?? body['id']);
  return definedTexts([toObject(messages[id])['model']]);
}

/** 0.12: what waits in the chat for a sub-agent or a timer runs after every completion (`utils/subagents.py`). */
function modelsOfPendingMessages(body: JsonObject, { directory }: RunContext): readonly string[] {
  const messages = [...Object.values(storedMessages(body['chat_id'], directory)), body['user_message']].map(toObject);
  const pending = messages.filter(
    ({ role, meta, childrenIds }) =>
      role === 'user' && toObject(meta)['internal'] === true && toList(childrenIds).length === 0,
  );
  return pending.flatMap(({ model, meta }) => {
    if (text(model) !== undefined) return definedTexts([model]);
    const timer = directory.stored('chat', text(toObject(meta)['timer_id']) ?? '');
    const run = toObject(toObject(timer?.['meta'])['run']);
    return [...definedTexts([run['model_id']]), ...modelsOfParams(toObject(run['chat_context'])['params'])];
  });
}

/** 0.12: a tool call that was approved goes on with the stored parameters, and with the stored call as it stands. */
export function modelsOfToolApproval(chatId: string, messageId: string, directory: SampleDirectory): readonly string[] {
  const chat = toObject(directory.stored('chat', chatId)?.['chat']);
  const message = toObject(storedMessages(chatId, directory)[messageId]);
  const params = [chat['params'], toObject(message['meta'])['params']].flatMap(modelsOfParams);
  // `update_automation` writes the model into an automation, which the scheduler then runs
  const calls = toList(message['output']).map((call) => unpack(toObject(call)['arguments']));
  return [...params, ...definedTexts(calls.map((call) => toObject(call)['model_id']))];
}

const modelsOfParams = (params: unknown): readonly string[] => fallbackModels(mergedParams(params));

function storedMessages(chatId: unknown, directory: SampleDirectory): JsonObject {
  const chat = toObject(directory.stored('chat', text(chatId) ?? '')?.['chat']);
  return toObject(toObject(chat['history'])['messages']);
}

const definedTexts = (values: readonly unknown[]): readonly string[] =>
  values.map(text).filter((value) => value !== undefined);

/** `params` with `custom_params` over it, whose values may be JSON in a string (`apply_params_to_form_data`). */
function mergedParams(value: unknown): JsonObject {
  const { custom_params: custom, ...params } = toObject(value);
  const unpacked = Object.entries(toObject(custom)).map(([key, entry]) => [key, unpack(entry)]);
  return { ...params, ...(Object.fromEntries(unpacked) as JsonObject) };
}

function unpack(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value; // an ordinary string
  }
}

/** OpenRouter's `models` and panels of Fusion, LiteLLM's `fallbacks`: ids, or objects that name one. */
function fallbackModels(body: JsonObject): readonly string[] {
  const tools = toList(body['tools']).map((tool) => toObject(toObject(tool)['parameters']));
  const panels = [...toList(body['plugins']).map(toObject), ...tools].flatMap((panel) => [
    ...toList(panel['analysis_models']),
    panel['model'],
  ]);
  const entries = [...toList(body['models']), ...toList(body['fallbacks']), ...panels];
  return entries.map((entry) => text(entry) ?? text(toObject(entry)['model'])).filter((model) => model !== undefined);
}

/** The real one picks any model of the instance at random; the sample the last, so that what it does can be repeated. */
function pickFromArena(model: string, { provider }: RunContext): string {
  const isArena = provider.some(({ id, owner }) => id === model && owner === 'arena');
  return isArena ? (provider.findLast(({ owner }) => owner !== 'arena')?.id ?? model) : model;
}

export const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;
export const toList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
export const toObject = (value: unknown): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
