import { describe, expect, test } from 'vitest';
import { cookiePurpose, isLoadedBySandbox } from '../../../src/openwebui/endpoints.ts';

describe('the purpose of a cookie', () => {
  test.each([
    ['owui-session', 'session'],
    ['oui-session', 'session'],
    ['token', 'auth'],
    ['oauth_id_token', 'auth'],
    ['oauth_session_id', 'auth'],
    ['mfa_challenge', 'auth'],
    ['Token', undefined],
    ['__Host-token', undefined],
    ['my-oauth_token', undefined],
    ['route', undefined],
    ['', undefined],
    ['constructor', undefined],
  ])('%j is %j', (name, purpose) => expect(cookiePurpose(name)).toBe(purpose));
});

test.each([
  ['/pyodide/pyodide.js', true],
  ['/pyodide/pyodide.asm.wasm?v=1', true],
  ['/pyodide', false],
  ['/api/pyodide/', false],
  ['//pyodide/', false],
  ['/PYODIDE/x', false],
  ['/', false],
])('that %s is loaded by the frame of the interpreter is %s', (target, expected) => {
  expect(isLoadedBySandbox(target)).toBe(expected);
});
