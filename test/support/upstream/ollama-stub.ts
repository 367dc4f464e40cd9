import type { ServerResponse } from 'node:http';
import { answerOpenAi, modelOf, openAiModelList, spokenWords, writeSlowly } from './openai-answers.ts';
import type { RecordedRequest, Recorder } from './recording-server.ts';
import { sendJson, startRecordingServer } from './recording-server.ts';

export interface OllamaStub extends Recorder {
  /** Base URL without a path, as `OLLAMA_BASE_URL` wants it. */
  url: string;
  setModels(names: readonly string[]): void;
}

export interface OllamaStubOptions {
  /** Names with their tags (`llama3:latest`): a real Ollama lists no other. */
  models: readonly string[];
  gapMs?: number;
}

const WHEN = '2026-01-01T00:00:00Z';
const VECTOR = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
const DETAILS = {
  format: 'gguf',
  family: 'llama',
  families: ['llama'],
  parameter_size: '8B',
  quantization_level: 'Q4_0',
};

function listed(names: readonly string[]): object[] {
  return names.map((name) => ({
    name,
    model: name,
    modified_at: WHEN,
    size: 1_000,
    digest: 'd'.repeat(64),
    details: DETAILS,
  }));
}

/** Native streams are the other way round than OpenAI's: on unless `stream` is false. */
async function speak(request: RecordedRequest, response: ServerResponse, gapMs: number): Promise<void> {
  const model = modelOf(request.body);
  const words = spokenWords(model);
  const say = (text: string): object =>
    request.path === '/api/chat' ? { message: { role: 'assistant', content: text } } : { response: text };
  const line = (text: string, done: boolean): object => ({ model, created_at: WHEN, ...say(text), done });
  const totals = { done_reason: 'stop', total_duration: 1, eval_count: 8, eval_duration: 1, prompt_eval_count: 3 };
  const body = request.body as { stream?: unknown } | null;
  if (body?.stream === false) return sendJson(response, { ...line(words.join(''), true), ...totals });
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const items = [...words.map((word) => line(word, false)), { ...line('', true), ...totals }];
  await writeSlowly(
    response,
    items.map((item) => `${JSON.stringify(item)}\n`),
    gapMs,
  );
}

function inputCount(body: unknown): number {
  const input = (body as { input?: unknown } | null)?.input;
  return Array.isArray(input) ? input.length : 1;
}

async function answer(
  request: RecordedRequest,
  response: ServerResponse,
  names: readonly string[],
  gapMs: number,
): Promise<void> {
  const { path, body } = request;
  if (path === '/v1/models') return sendJson(response, openAiModelList(names));
  if (path.startsWith('/v1/')) return answerOpenAi(path.slice(3), request, response, { gapMs });
  switch (path) {
    case '/':
      response.end('Ollama is running');
      return;
    case '/api/version':
      return sendJson(response, { version: '0.12.6' });
    case '/api/tags':
      return sendJson(response, { models: listed(names) });
    case '/api/ps':
      return sendJson(response, { models: listed(names.slice(0, 1)) });
    case '/api/show':
      return sendJson(response, {
        modelfile: '',
        parameters: '',
        template: '',
        details: DETAILS,
        model_info: {},
        capabilities: ['completion'],
      });
    case '/api/chat':
    case '/api/generate':
      return speak(request, response, gapMs);
    case '/api/embed':
      return sendJson(response, {
        model: modelOf(body),
        embeddings: Array.from({ length: inputCount(body) }, () => VECTOR),
      });
    case '/api/embeddings':
      return sendJson(response, { embedding: VECTOR });
    default:
      // pull, push, create, copy, delete and whatever comes next: done at once
      return sendJson(response, { status: 'success' });
  }
}

/** A native Ollama that answers everything and writes down which models it was asked for. */
export async function startOllamaStub({ models, gapMs = 5 }: OllamaStubOptions): Promise<OllamaStub> {
  let names = models;
  const recorder = await startRecordingServer((request, response) => answer(request, response, names, gapMs));
  return Object.assign(recorder, {
    url: recorder.origin,
    setModels: (next: readonly string[]) => {
      names = next;
    },
  });
}
