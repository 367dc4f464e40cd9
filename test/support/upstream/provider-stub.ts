import { answerOpenAi, openAiModelList } from './openai-answers.ts';
import type { Recorder } from './recording-server.ts';
import { sendJson, startRecordingServer } from './recording-server.ts';

export interface ProviderStub extends Recorder {
  /** Base URL with `/v1`, as an Open WebUI connection wants it. */
  url: string;
  /** Changes the list of `GET /v1/models` from now on; any other model is answered too. */
  setModels(ids: readonly string[]): void;
}

export interface ProviderStubOptions {
  models: readonly string[];
  /** Milliseconds between two streamed words. */
  gapMs?: number;
}

/**
 * An OpenAI-compatible provider that answers everything and writes down which models it was asked for.
 * It refuses nothing: a forbidden model that gets this far must be seen, not stopped.
 */
export async function startProviderStub({ models, gapMs = 5 }: ProviderStubOptions): Promise<ProviderStub> {
  let listed = models;
  const recorder = await startRecordingServer(async (request, response) => {
    const path = request.path.replace(/^\/v1(?=\/)/, '');
    if (request.method === 'GET' && path === '/models') {
      sendJson(response, openAiModelList(listed));
      return;
    }
    await answerOpenAi(path, request, response, { gapMs });
  });
  return Object.assign(recorder, {
    url: `${recorder.origin}/v1`,
    setModels: (ids: readonly string[]) => {
      listed = ids;
    },
  });
}
