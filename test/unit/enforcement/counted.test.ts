import { describe, expect, test } from 'vitest';
import { readTargetInto } from '../../../src/openwebui/match.ts';
import { countedAs, runsModel } from '../../../src/openwebui/endpoints.ts';
import { deny } from '../../../src/policy/decision.ts';
import type { ModelId } from '../../../src/policy/grant.ts';
import type { Scope } from '../../../src/gate/scope.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';

function scopeOf(line: string, headers: Record<string, string> = {}): Scope {
  const [method = 'GET', url = '/'] = line.split(' ');
  const scope = sampleScope({ method, url, headers });
  readTargetInto(scope);
  return scope;
}

describe('as what a request counts', () => {
  test.each([
    'GET /',
    'GET /_app/immutable/chunks/index.js',
    'GET /static/favicon.png',
    'GET /manifest.json',
    'GET /health',
    'GET /c/some-chat',
    'GET /apiary',
    'GET /ws/socket.io/?EIO=4&transport=polling&sid=abc',
    'POST /ws/socket.io/?EIO=4&transport=polling&t=1&%73id=abc',
    'GET /wsx?EIO=4&transport=polling',
  ])('%s: nothing', (line) => {
    expect(countedAs(scopeOf(line))).toBe('nothing');
  });

  test.each([
    'GET /api/config',
    'GET /api',
    'HEAD /api/models',
    'OPTIONS /api/models',
    'POST /api/chat/completions',
    'GET /api/v1/auths/',
    'GET /api/v1/auths/signin',
    'POST /api/v1/auths/signout',
    'POST /openai/chat/completions',
    'GET /ollama/api/tags',
    'GET /ollama',
    'GET /oauth/google/login',
    'GET /cache/image.png',
    'DELETE /api/v1/anything/new',
    'GET /%61pi/models',
    'GET /ws/socket.io/?EIO=4&transport=polling',
    'GET /ws/socket.io?EIO=4&transport=polling&sid=',
    'GET /ws/socket.io/anything?sid&EIO=4',
    'GET /%77s/socket.io/?EIO=4&SID=abc',
  ])('%s: a request', (line) => {
    expect(countedAs(scopeOf(line))).toBe('request');
  });

  test.each([
    'POST /api/v1/auths/signin',
    'POST /api/v1/auths/ldap',
    'POST /api/v1/auths/signup',
    'POST /api/v1/auths/update/password',
    'POST /api/v1/auths/mfa/verify',
    'POST /api/v1/auths/mfa/replace',
    'POST /api/v1/auths/mfa/recovery/codes',
    'POST /api/v1/auths/mfa/enroll/confirm',
    'POST /api/v1/auths/oauth/google/token/exchange',
    'POST /api/v1/auths/sign%69n',
  ])('%s: a sign-in', (line) => {
    expect(countedAs(scopeOf(line))).toBe('sign_in');
  });

  test("a browser's preflight counts as nothing, and only as one that the backend answers before its routes", () => {
    const preflight = { origin: 'https://chat.example', 'access-control-request-method': 'POST' };
    expect(countedAs(scopeOf('OPTIONS /api/models', preflight))).toBe('nothing');
    expect(countedAs(scopeOf('OPTIONS /api/models', { origin: 'https://chat.example' }))).toBe('request');
    expect(countedAs(scopeOf('POST /api/v1/auths/signin', preflight))).toBe('sign_in');
  });
});

describe('whether a request runs a model', () => {
  const permit = { effect: 'permit', reason: 'grant', model: 'A' as ModelId, chain: [] } as const;

  test.each([
    'POST /api/chat/completions',
    'POST /openai/chat/completions',
    'POST /ollama/api/generate',
    'POST /api/v1/messages',
    'POST /api/embeddings',
    'POST /api/v1/tasks/title/completions',
    'POST /api/v1/images/generations',
    'POST /api/v1/audio/speech',
    'POST /api/v1/audio/transcriptions',
    'POST /api/v1/audio/tr%61nscriptions',
  ])('%s: yes', (line) => {
    expect(runsModel(scopeOf(line))).toBe(true);
  });

  test.each([
    'GET /api/models',
    'POST /api/v1/models/create',
    'GET /api/v1/models/model?id=A',
    'GET /api/v1/models/model/profile/image?id=A',
    'POST /api/chat/completed',
    'POST /api/v1/messages/count_tokens',
    'POST /ollama/api/show',
    'POST /api/v1/automations/create',
    'GET /api/v1/chats/',
    'GET /api/v1/audio/transcriptions',
    'GET /',
  ])('%s: no, whatever was decided', (line) => {
    const scope = scopeOf(line);
    expect(runsModel(scope)).toBe(false);
    scope.decision = permit;
    expect(runsModel(scope)).toBe(false);
  });

  test.each([
    'POST /api/v1/channels/c1/messages/post',
    'POST /api/v1/automations/a1/run',
    'POST /openai/embeddings',
    'POST /api/v2/something/new',
  ])('%s: where a model was decided about', (line) => {
    const scope = scopeOf(line);
    expect(runsModel(scope)).toBe(false);
    scope.decision = permit;
    expect(runsModel(scope)).toBe(true);
    scope.decision = deny('not_granted');
    expect(runsModel(scope)).toBe(true);
  });
});
