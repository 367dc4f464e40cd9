/** Routes that run a model: chat in every dialect, embeddings, tasks, and the proxies towards OpenAI and Ollama. */
import { type DialectName, DIALECTS } from '../dialects.ts';
import type { JsonObject } from './directory.ts';
import { type SampleReply, type SampleRoute, failure, readBody, route } from './route.ts';
import { isKnownModel, modelsOfChat, modelsOfRawRun, modelsOfRun, text, toList, toObject } from './run.ts';

type Answer = SampleRoute['answer'];

/** `POST /api/chat/completions`: known models only; with the web page's three ids the words go through the socket. */
function chat(dialect: DialectName): Answer {
  return (request, context) => {
    const body = readBody(request);
    const isDirect = Boolean(toObject(body['model_item'])['direct']);
    if (!isDirect && !isKnownModel(text(body['model']) ?? '', context)) return failure(400, 'Model not found');
    context.invoked.push(...modelsOfChat(body, context));
    const isPage = [body['session_id'], body['chat_id'], body['id'] ?? body['message_ids']].every(Boolean);
    if (isPage) return { json: { status: true, chat_id: body['chat_id'], task_ids: [] } };
    return speak(dialect, body);
  };
}

/** The proxies send what they are given, known or not. */
function proxy(dialect: DialectName): Answer {
  return (request, context) => {
    const body = readBody(request);
    context.invoked.push(...modelsOfRun(text(body['model']) ?? '', body, context));
    return speak(dialect, body);
  };
}

/** Sends the id as it is, presets or not. */
function raw(dialect: DialectName): Answer {
  return (request, context) => {
    const body = readBody(request);
    context.invoked.push(...modelsOfRawRun(text(body['model']) ?? '', body));
    return speak(dialect, body);
  };
}

const tagged = (model: string): string => (model.includes(':') ? model : `${model}:latest`);

/**
 * Ollama adds `:latest` to an id without a tag. Before that `api/chat` looks for a preset of the plain name, the
 * OpenAI routes of 0.6 for one of the tagged name, and the others for none. Its own routes stream unless told not to.
 */
function ollama(dialect: DialectName, presets: 'plain' | 'tagged' | 'none'): Answer {
  return (request, context) => {
    const body = { stream: dialect.startsWith('ollama'), ...readBody(request) };
    const named = text(toObject(body)['model']) ?? '';
    const id = presets === 'plain' ? named : tagged(named);
    const runs = presets === 'none' ? modelsOfRawRun(id, body) : modelsOfRun(id, body, context);
    // ids of the sample's other provider stay as they are: only Ollama's have tags
    const isForeign = (model: string) => context.provider.some((known) => known.id === model);
    context.invoked.push(...runs.map((model) => (isForeign(model) ? model : tagged(model))));
    return speak(dialect, { ...body, model: id });
  };
}

function speak(dialect: DialectName, body: JsonObject): SampleReply {
  const model = text(body['model']) ?? '';
  const spoken = DIALECTS[dialect];
  const words = answerTo(body, model);
  return body['stream'] === true
    ? { contentType: spoken.contentType, stream: spoken.stream(model, words) }
    : { json: spoken.whole(model, words) };
}

/** A sentence that says which model the caller talked to, and what was asked. */
function answerTo(body: JsonObject, model: string): readonly string[] {
  const asked = toObject(toList(body['messages']).at(-1))['content'] ?? body['prompt'] ?? body['input'];
  const question = typeof asked === 'string' ? asked : 'something with parts';
  return `This is the sample model ${model}. You said: ${question}`.split(/(?<= )/);
}

const embed =
  (idOf: (model: string) => string): Answer =>
  (request, context) => {
    const body = readBody(request);
    const model = idOf(text(body['model']) ?? '');
    context.invoked.push(...modelsOfRawRun(model, body));
    const data = [{ object: 'embedding', index: 0, embedding: [0.1, 0.2, 0.3] }];
    return { json: { object: 'list', data, model, usage: { prompt_tokens: 1, total_tokens: 1 } } };
  };
const embeddings = embed((model) => model);

const ollamaEmbed: Answer = (request, context) => {
  const body = readBody(request);
  const model = tagged(text(body['model']) ?? '');
  context.invoked.push(...modelsOfRawRun(model, body));
  return { json: { model, embeddings: [[0.1, 0.2, 0.3]] } };
};

/** Details of a model are not a run, but they name it: no release before 0.9 checks who asks. */
const ollamaShow: Answer = (request, context) => {
  const body = readBody(request);
  const model = text(body['model']) ?? text(body['name']);
  const found = context.models.ollamaTags().find((entry) => entry['model'] === model);
  return found === undefined ? failure(404, `Model '${model ?? ''}' was not found`) : { json: found };
};

/** `/openai/{path}`, any method, up to 0.8.12 and with ENABLE_OPENAI_API_PASSTHROUGH: no check of anything. */
const passthrough: Answer = (request, context) => {
  if (request.method === 'GET') return { json: { object: 'list', data: context.models.openaiModels() } };
  return raw(request.path.includes('completions') ? 'openai' : 'responses')(request, context);
};

const counted: Answer = () => ({ json: { input_tokens: 1 } });

const media: Answer = (request, context) => {
  const model = text(readBody(request)['model']);
  if (model !== undefined) context.invoked.push(model);
  return { json: [{ url: '/cache/sample.png' }] };
};

/** `POST /api/v1/tasks/…/completions`: no task model is set here, so each runs the model that it is given. */
const TASKS = ['title', 'follow_up', 'tags', 'image_prompt', 'queries', 'auto', 'emoji', 'moa'];

/** Once plain and once with the index of a connection, as every Ollama route is mounted. */
const indexed = (path: string, answer: Answer): readonly SampleRoute[] => [
  route('POST', path, answer),
  route('POST', `${path}/{index}`, answer),
];
const both = (paths: readonly string[], answer: Answer) => paths.map((path) => route('POST', path, answer));

export const CHAT_ROUTES: readonly SampleRoute[] = [
  ...both(['/api/chat/completions', '/api/v1/chat/completions'], chat('openai')),
  ...both(['/api/message', '/api/v1/messages'], chat('anthropic')),
  ...both(['/api/message/count_tokens', '/api/v1/messages/count_tokens'], counted),
  ...both(['/api/embeddings', '/api/v1/embeddings'], embeddings),
  ...TASKS.map((task) => route('POST', `/api/v1/tasks/${task}/completions`, chat('openai'))),
  route('POST', '/api/chat/completed', (request) => ({ json: readBody(request) })),
  route('POST', '/openai/chat/completions', proxy('openai')),
  route('POST', '/openai/responses', raw('responses')),
  ...both(['/openai/embeddings'], embeddings),
  ...indexed('/ollama/api/chat', ollama('ollamaChat', 'plain')),
  ...indexed('/ollama/api/generate', ollama('ollamaGenerate', 'none')),
  ...indexed('/ollama/api/embed', ollamaEmbed),
  ...indexed('/ollama/api/embeddings', ollamaEmbed),
  ...indexed('/ollama/v1/chat/completions', ollama('openai', 'tagged')),
  ...indexed('/ollama/v1/completions', ollama('completion', 'tagged')),
  ...indexed('/ollama/v1/embeddings', embed(tagged)),
  ...indexed('/ollama/v1/messages', ollama('anthropic', 'none')),
  ...indexed('/ollama/v1/responses', ollama('responses', 'none')),
  route('POST', '/ollama/api/show', ollamaShow),
  ...both(['/api/v1/images/generations', '/api/v1/images/edit', '/api/v1/audio/speech', '/openai/audio/speech'], media),
];

/** Matched after everything else under `/openai`. */
export const PASSTHROUGH_ROUTE: SampleRoute = route('*', '/openai/{path:path}', passthrough);
