/** Limits beside those of nginx, and behind it. */
import { describe, expect, test } from 'vitest';
import { manualClock } from '../support/process/clock.ts';
import { type TestGate, gateOfTest } from '../support/gate/gate.ts';
import { startNginx } from '../support/gate/nginx.ts';
import { inTurn } from '../support/process/with-timeout.ts';

async function gateWith(settings: Record<string, string>): Promise<TestGate> {
  const gate = await gateOfTest(settings, '0.12.4', manualClock());
  return gate;
}

test('a burst is what nginx means by it: the same requests at once pass there and here', async () => {
  const gate = await gateWith({ MODELGATE_LIMIT_USER: '6/1m:7' });
  const zone = 'limit_req_zone $http_authorization zone=user:1m rate=6r/m;\n  limit_req_status 429;';
  await using nginx = await startNginx(gate.backend.url, ['limit_req zone=user burst=7 nodelay;'], zone);
  const atOnce = async (user: string, url: string): Promise<number> => {
    const headers = { authorization: `Bearer ${await gate.token(user)}` };
    const target = `${url}/api/v1/chats/`;
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(target, { headers })));
    return answers.filter(({ status }) => status !== 429).length;
  };
  const [here, there] = [await atOnce('ann', gate.url), await atOnce('bob', nginx.url)];
  expect([here, there]).toEqual([8, 8]);
});

describe('an nginx that is not named in MODELGATE_TRUSTED_PROXIES', () => {
  const warnings = (gate: { lines: readonly Record<string, unknown>[] }) =>
    gate.lines.filter(({ level, peer }) => level === 'warn' && peer !== undefined).map(({ msg }) => msg);

  test('is logged once for the operator, who would otherwise see all clients share one limit', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_ADDRESS: '2/1h' });
    await using nginx = await startNginx(gate.url);
    expect(await inTurn(Array(3), async () => (await fetch(`${nginx.url}/api/version`)).status)).toEqual([
      200, 200, 429,
    ]);
    await expect
      .poll(() => warnings(gate))
      .toEqual([expect.stringMatching(/127\.0\.0\.1 .*MODELGATE_TRUSTED_PROXIES$/)]);
  });

  test('is no matter where it is named, nor where clients come by themselves', async () => {
    const gate = await gateWith({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' });
    await using nginx = await startNginx(gate.url);
    await fetch(`${nginx.url}/api/version`);
    await fetch(`${gate.url}/api/version`);
    await expect.poll(() => gate.lines.filter(({ path }) => path === '/api/version')).toHaveLength(2);
    expect(warnings(gate)).toEqual([]);
  });
});
