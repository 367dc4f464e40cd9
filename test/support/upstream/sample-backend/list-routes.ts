/** Routes that list or reveal models, and the ones that need no model at all: version, health, the page. */
import { type SampleReply, type SampleRequest, type SampleRoute, failure, route } from './route.ts';

type Answer = SampleRoute['answer'];

export const SAMPLE_VERSION = '0.12.4';

const chatModels: Answer = (_request, { models }) => ({ json: { data: models.chatModels() } });
const openaiModels: Answer = (_request, { models }) => ({ json: { data: models.openaiModels(), object: 'list' } });
const ollamaTags: Answer = (_request, { models }) => ({ json: { models: models.ollamaTags() } });
const ollamaModels: Answer = (_request, { models }) => ({
  json: {
    data: models.ollamaTags().map(({ model }) => ({ id: model, object: 'model', created: 0, owned_by: 'openai' })),
    object: 'list',
  },
});
const baseModels: Answer = (_request, { models }) => ({
  json: { data: models.chatModels().filter((model) => model['preset'] !== true) },
});
const rows: Answer = (_request, { models }) => ({ json: models.rows() });

/** `GET /api/v1/models/list` (from 0.6.35): 30 a page, `total` counts all; the search looks at base models too. */
const page: Answer = (request, { models }) => {
  const number = Math.max(1, Number(request.query.get('page') ?? 1) || 1);
  const search = (request.query.get('query') ?? '').toLowerCase();
  const all = models
    .rows()
    .filter((row) => `${String(row['name'])} ${String(row['base_model_id'])}`.toLowerCase().includes(search));
  return { json: { items: all.slice((number - 1) * 30, number * 30), total: all.length } };
};

/** One row; of a repeated `id` the last counts. */
const oneRow: Answer = (request, { models }) => {
  const row = models.rows().find(({ id }) => id === request.query.get('id'));
  return row === undefined ? failure(404, "We could not find what you're looking for :/") : { json: row };
};

/** No access check in any release: who knows an id learns that the model exists. */
const profileImage: Answer = (request, context) => {
  const found = oneRow(request, context);
  return 'status' in found ? found : { json: null };
};

const config: Answer = (_request, { provider }) => {
  const ids = provider.map(({ id }) => id);
  return {
    json: {
      status: true,
      name: 'Sample backend',
      version: SAMPLE_VERSION,
      default_locale: '',
      oauth: { providers: {} },
      features: { auth: true, enable_signup: false, enable_login_form: true, enable_websocket: true },
      default_models: ids.join(','),
      default_pinned_models: ids.join(','),
    },
  };
};

const constant =
  (json: unknown): (() => SampleReply) =>
  () => ({ json });

const catalogue = (path: string, answer: Answer): readonly SampleRoute[] => [
  route('GET', path, answer),
  route('GET', `${path}/{index}`, answer),
];

export const LIST_ROUTES: readonly SampleRoute[] = [
  route('GET', '/api/models', chatModels),
  route('GET', '/api/v1/models', chatModels),
  route('GET', '/api/models/base', baseModels, 'admin'),
  route('GET', '/api/v1/models/', rows),
  route('GET', '/api/v1/models/base', rows, 'admin'),
  route('GET', '/api/v1/models/export', rows),
  route('GET', '/api/v1/models/list', page),
  route('GET', '/api/v1/models/tags', constant([])),
  route('GET', '/api/v1/models/model', oneRow),
  route('GET', '/api/v1/models/model/profile/image', profileImage),
  ...catalogue('/openai/models', openaiModels),
  ...catalogue('/ollama/api/tags', ollamaTags),
  ...catalogue('/ollama/v1/models', ollamaModels),
  route('GET', '/ollama/api/version', constant({ version: '0.9.0' }), 'public'),
  route('GET', '/api/usage', (_request, { invoked }) => ({ json: { model_ids: [...new Set(invoked)], user_ids: [] } })),
  route('GET', '/api/v1/tasks/config', (_request, { provider }) => ({
    json: { TASK_MODEL: '', TASK_MODEL_EXTERNAL: provider[0]?.id ?? '' },
  })),
  route('GET', '/api/config', config, 'public'),
  route('GET', '/api/version', constant({ version: SAMPLE_VERSION, deployment_id: '' }), 'public'),
  route('GET', '/health', constant({ status: true }), 'public'),
];

/** What the web page's mount answers to whatever no route took: the page, or that the method is wrong. */
export function answerAsPage({ method, path }: Pick<SampleRequest, 'method' | 'path'>): SampleReply {
  if (method !== 'GET' && method !== 'HEAD') return failure(405, 'Method Not Allowed');
  if (path.endsWith('.js')) return failure(404, 'Not Found');
  return { contentType: 'text/html; charset=utf-8', stream: [PAGE] };
}

const PAGE = `<!doctype html>
<html lang="en">
  <meta charset="utf-8" />
  <title>Sample backend</title>
  <h1>Sample backend</h1>
  <p>Stands in for Open WebUI: its routes and shapes, no models. Every answer says which model gave it.</p>
</html>
`;
