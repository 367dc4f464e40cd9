import { describe, expect, test } from 'vitest';
import { type Dialect, createRefusal } from '../../../src/enforcement/answers.ts';
import { type ErrorCode, GatewayError } from '../../../src/errors.ts';
import { answeringOf } from '../../../src/openwebui/endpoints.ts';
import { type Deny, deny } from '../../../src/policy/decision.ts';
import { modelOf } from '../../support/database/policy-world.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';

const DIALECTS: readonly Dialect[] = ['open-webui', 'openai', 'ollama', 'anthropic'];

/** The refusal as a gate has it, whose decisions all have one id. */
function refusalOf(dialect: Dialect, denial: 'forbid' | 'hide', decisionId = '') {
  const nothing = () => undefined;
  return createRefusal({
    audit: { recordDecision: () => decisionId },
    log: { sparingly: nothing },
    metrics: { failed: nothing },
    denial,
    answeringOf: () => ({ dialect, insteadOfDenial: undefined }),
    allowOrigin: nothing,
  });
}

/** What is sent of an answer, by a response that sends nothing. */
function sentBy(answer: (scope: ReturnType<typeof sampleScope>) => unknown, requestId?: string) {
  const scope = { ...sampleScope(), ...(requestId === undefined ? {} : { requestId }) };
  const sent = { status: 0, headers: {} as Record<string, string>, body: '' };
  Object.assign(scope.outgoing, {
    req: { complete: true },
    socket: null,
    writeHead(status: number, lines: readonly string[]) {
      const pairs = lines.flatMap((name, at) => (at % 2 === 0 ? [[name, lines[at + 1] ?? ''] as const] : []));
      Object.assign(sent, { status, headers: Object.fromEntries(pairs) });
    },
    end: (body: string) => void Object.assign(sent, { body }),
  });
  answer(scope);
  return sent;
}

const denialAnswer = (dialect: Dialect, denial: Deny, decisionId: string, disclosure: 'forbid' | 'hide') =>
  sentBy((scope) => refusalOf(dialect, disclosure, decisionId).deny(scope, denial));

const errorAnswer = (dialect: Dialect, error: GatewayError, requestId: string) =>
  sentBy((scope) => refusalOf(dialect, 'forbid').fail(scope, error), requestId);

describe('a denial is answered', () => {
  test.each<[reason: Deny['reason'], forbid: number, hide: number, code: string]>([
    ['not_authenticated', 401, 401, 'not_authenticated'],
    ['role_not_permitted', 403, 404, 'model_not_permitted'],
    ['no_organization', 403, 404, 'model_not_permitted'],
    ['not_granted', 403, 404, 'model_not_permitted'],
    ['preset_base_not_granted', 403, 404, 'model_not_permitted'],
    ['preset_parameter_not_granted', 403, 404, 'model_not_permitted'],
    ['media_model_not_listed', 403, 404, 'model_not_permitted'],
    ['preset_id_taken', 403, 404, 'model_not_permitted'],
    ['stored_reference', 403, 404, 'model_not_permitted'],
    ['saved_reference', 403, 404, 'model_not_permitted'],
    ['model_missing', 400, 400, 'model_missing'],
    ['reference_unreadable', 400, 400, 'reference_unreadable'],
    ['content_unreadable', 400, 400, 'content_unreadable'],
    ['direct_connection', 403, 404, 'direct_connection'],
    ['path_unlisted', 403, 404, 'path_unlisted'],
  ])('%s', (reason, forbid, hide, code) => {
    const denial = deny(reason, modelOf('the-model'), [modelOf('the-model'), modelOf('secret-base')]);
    const shown = denialAnswer('openai', denial, 'd-1', 'forbid');
    expect([shown.status, denialAnswer('openai', denial, 'd-1', 'hide').status]).toEqual([forbid, hide]);
    expect(JSON.parse(shown.body)).toMatchObject({ error: { code } });
    expect(shown.body).not.toContain('secret-base');
    expect(shown.headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store' });
  });

  test('alike for a forbidden model and a preset of one', () => {
    const texts = (['not_granted', 'no_organization', 'preset_base_not_granted'] as const).map(
      (reason) => denialAnswer('openai', deny(reason, modelOf('M')), 'd-1', 'forbid').body,
    );
    expect(new Set(texts).size).toBe(1);
  });

  test('as what it is: a run of what is stored, or a save', () => {
    const textOf = (reason: Deny['reason']) => denialAnswer('openai', deny(reason), 'd-1', 'forbid').body;
    expect(textOf('stored_reference')).toMatch(/This would run a stored model/);
    expect(textOf('saved_reference')).toMatch(/This chat names a model .* It was not saved\./);
  });

  test.each(DIALECTS)('in the words of %s, with the decision to ask for', (dialect) => {
    const answer = denialAnswer(dialect, deny('not_granted', modelOf('M"<')), 'd-42', 'forbid');
    const message = 'The model "M"<" does not exist or your organization does not have access to it. (decision d-42)';
    expect(JSON.parse(answer.body)).toEqual(
      {
        'open-webui': { detail: message },
        openai: { error: { message, type: 'permission_error', param: 'model', code: 'model_not_permitted' } },
        ollama: { error: message },
        anthropic: { type: 'error', error: { type: 'permission_error', message } },
      }[dialect],
    );
  });

  test('without a name where none was given, and with the beginning of a long one', () => {
    expect(denialAnswer('ollama', deny('not_granted'), 'd', 'forbid').body).toContain('The model does not exist');
    expect(
      denialAnswer('ollama', deny('not_granted', modelOf('x'.repeat(999))), 'd', 'forbid').body.length,
    ).toBeLessThan(400);
  });
});

const STATUS: Record<ErrorCode, number> = {
  path_ambiguous: 400,
  request_malformed: 400,
  method_not_allowed: 405,
  credentials_conflict: 400,
  identity_conflict: 400,
  access_key_invalid: 401,
  provider_unknown: 404,
  body_unreadable: 400,
  version_not_supported: 505,
  request_timeout: 408,
  rate_limit_exceeded: 429,
  headers_too_large: 431,
  expectation_failed: 417,
  body_too_large: 413,
  body_too_complex: 413,
  loop_detected: 508,
  upstream_unreachable: 502,
  upstream_invalid: 502,
  upstream_headers_too_large: 502,
  upstream_timeout: 504,
  budget_exceeded: 402,
  unpriced_model: 402,
  unbounded_model: 402,
  organization_key_unusable: 503,
  ledger_unavailable: 503,
  limits_unavailable: 503,
  policy_unavailable: 503,
  chat_busy: 503,
  chat_too_complex: 413,
  bodies_held: 503,
  reading_unavailable: 503,
  draining: 503,
  internal: 500,
};

describe('an error is answered', () => {
  test.each(Object.entries(STATUS) as [ErrorCode, number][])('%s with %i', (code, status) => {
    for (const dialect of DIALECTS) {
      const answer = errorAnswer(dialect, new GatewayError(code, { cause: new Error('/secret/path') }), 'r-1');
      expect(answer.status).toBe(status);
      expect(answer.body).toContain(new GatewayError(code).message.slice(0, 20));
      expect(answer.body).not.toContain('secret');
      expect(answer.body.includes('r-1')).toBe(status >= 500 || status === 402);
      expect(answer.headers['retry-after'] !== undefined).toBe(status === 503);
    }
  });
});

test.each([
  ['/api/v1/messages', 'anthropic'],
  ['/api/message/count_tokens', 'anthropic'],
  ['/ollama/v1/messages/0', 'anthropic'],
  ['/openai/anything', 'openai'],
  ['/ollama/v1/anything', 'openai'],
  ['/api/v1/chat/completions', 'openai'],
  ['/api/v1/embeddings', 'openai'],
  ['/api/v1/models', 'openai'],
  ['/api/v1/models/', 'open-webui'],
  ['/ollama/api/chat', 'ollama'],
  ['/api/chat/completions', 'open-webui'],
  ['', 'open-webui'],
])('the dialect of %s is %s', (path, dialect) => {
  expect(answeringOf(sampleScope({ url: path })).dialect).toBe(dialect);
});

test('a status that a dialect has no word for is an API error', () => {
  const bodyOf = (dialect: Dialect): unknown =>
    JSON.parse(errorAnswer(dialect, new GatewayError('loop_detected'), 'r-1').body);
  expect(bodyOf('openai')).toMatchObject({ error: { type: 'api_error', param: null } });
  expect(bodyOf('anthropic')).toMatchObject({ error: { type: 'api_error' } });
});
