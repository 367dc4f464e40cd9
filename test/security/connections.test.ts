/**
 * A name is judged as the provider will be asked for it: what is sent beside the model that runs, or in its place, goes to
 * the connection of that model, which has names of its own.
 */
import { type Attack, type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';
import type { TestGate } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';

/** Two connections: one without a prefix, and one whose models are listed with `x.`. */
function prepare({ database }: TestGate): void {
  const configs = { 0: {}, 1: { prefix_id: 'x' } };
  if (database.era === '0.6.18') {
    const data = JSON.stringify({ openai: { api_configs: configs } });
    database.run("INSERT INTO config (data, version, created_at) VALUES (?, 0, '2025-01-01')", data);
  } else {
    database.run(
      "INSERT INTO config (key, value, updated_at) VALUES ('openai.api_configs', ?, 0)",
      JSON.stringify(configs),
    );
  }
  for (const model of ['x.slow', 'x.fast', 'vendor/*', 'mistral', 'llama3:latest']) database.grant('acme', model);
  const preset = (id: string, base: string, params: object = {}) => database.addModel({ id, base, params });
  preset('slow-as-a', 'x.slow', { model: 'A' });
  preset('slow-as-hidden-a', 'x.slow', { custom_params: { model: '"A"' } });
  preset('slow-spelled', 'x.slow', { model: 'x.Ax.' });
  preset('slow-with-a', 'x.slow', { models: ['A'] });
  preset('slow-as-fast', 'x.slow', { model: 'fast' });
  preset('slow-as-x-fast', 'x.slow', { model: 'x.fast' });
  // a preset that is called as a model of Ollama without its tag
  preset('mistral', 'A');
  preset('over-mistral', 'mistral');
  database.addModel({ id: 'over-arena', base: 'arena-model' });
  database.grant('acme', 'over-arena');
  preset('over-over-arena', 'over-arena');
  // an admin's row that overrides a model of the provider
  database.addModel({ id: 'acme/one', base: null, params: { model: 'F' } });
}

const running = (models: readonly string[]): Attack[] =>
  models.flatMap((model) => at(CHAT, { [`running ${JSON.stringify(model)}`]: chat(model) }));

const attacks: readonly Attack[] = [
  ...running(['slow-as-a', 'slow-as-hidden-a', 'slow-spelled', 'slow-with-a', 'over-mistral', 'over-over-arena']),
  ...running(['acme/one']),
  ...running([
    'vendor/../F',
    'vendor/.',
    'vendor/%2e%2e/F',
    'vendor/%2E./F',
    'vendor/x?y=',
    'vendor/x#',
    'vendor/x,F',
    'vendor\\..\\F',
    'vendor/x@preset/y',
  ]),
  ...at(CHAT, {
    'a fallback that the other connection knows': chat('x.slow', { models: ['A'] }),
    'a fallback of a preset on the other connection': chat('slow-as-fast', { fallbacks: ['A'] }),
  }),
  ...(['/api/embeddings', '/openai/responses'] as const).flatMap((target) => {
    const dialect = target === '/api/embeddings' ? 'open-webui' : 'openai';
    return at(target, { [`a preset whose name the provider knows otherwise at ${target}`]: chat('mistral') }, {
      dialect,
    } as const);
  }),
  ...at('/api/v1/models/create', {
    'a base that is a preset': form('mistral'),
    'a base that leads to the arena': form('over-arena'),
  }),
];

function form(base: string): object {
  return { id: 'mine', name: 'Mine', base_model_id: base, params: {}, meta: { model_ids: ['F'] } };
}

const uses: readonly Use[] = [
  ...at(CHAT, { 'a preset that names a granted model of its connection': chat('slow-as-fast') }, { runs: ['fast'] }),
  ...at(CHAT, { 'the same, by its name with the prefix': chat('slow-as-x-fast') }, { runs: ['x.fast'] }),
  ...at(CHAT, { 'a fallback of the same connection': chat('A', { models: ['x.fast'] }) }, { runs: ['A', 'x.fast'] }),
];

describeAttacks('by a name that a connection reads otherwise', { prepare, attacks, uses });
