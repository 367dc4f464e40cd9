/** Security headers where nginx adds some as well: each is there once. */
import { describe, expect, test } from 'vitest';
import type { TestGate } from '../support/gate/gate.ts';
import { startNginx } from '../support/gate/nginx.ts';
import { type RawAnswer, rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { EXPECTED, gateWith, securityOf } from '../support/gate/security-headers.ts';

describe('behind a real nginx', () => {
  const throughNginx = async (gate: TestGate, directives: readonly string[], path = '/') => {
    await using nginx = await startNginx(gate.url, directives);
    return await rawRequest(nginx.port, requestText(`GET ${path}`));
  };
  // Not `expectSecured`: nginx adds its own name
  const expectOnce = (answer: RawAnswer, more: Record<string, string> = {}) =>
    expect(securityOf(answer)).toEqual({ ...EXPECTED, ...more });

  test('that adds none, each is there once, also where the backend sends some', async () => {
    const { gate } = await gateWith({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1' });
    expectOnce(await throughNginx(gate, []));
    const own = 'proxy_set_header X-Answer "X-Frame-Options:DENY|X-Content-Type-Options:nosniff|Server:uvicorn";';
    expectOnce(await throughNginx(gate, [own]), { 'x-frame-options': 'DENY' });
  });

  const GUIDE = [
    'add_header X-Frame-Options "SAMEORIGIN" always;',
    'add_header X-Content-Type-Options "nosniff" always;',
    'add_header X-XSS-Protection "1; mode=block" always;',
    'add_header Referrer-Policy "strict-origin-when-cross-origin" always;',
  ];

  test("that adds the guide's four, each is there once with those four off here", async () => {
    const { gate } = await gateWith({
      MODELGATE_HEADERS_FRAME_OPTIONS: 'off',
      MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: 'off',
      MODELGATE_HEADERS_XSS_PROTECTION: 'off',
      MODELGATE_HEADERS_REFERRER_POLICY: 'off',
    });
    expectOnce(await throughNginx(gate, GUIDE));
    expectOnce(await throughNginx(gate, GUIDE, '/api%2fmodels'));
  });

  test("that adds the guide's four and hides ours, each is there once", async () => {
    const { gate } = await gateWith();
    const hidden = ['X-Frame-Options', 'X-Content-Type-Options', 'X-XSS-Protection', 'Referrer-Policy'];
    expectOnce(await throughNginx(gate, [...GUIDE, ...hidden.map((name) => `proxy_hide_header ${name};`)]));
  });
});
