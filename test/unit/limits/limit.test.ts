/** The two stages alone, also in front of a counter that takes its time, as one that replicas share would. */
import { describe, expect, test } from 'vitest';
import type { LimitsConfig } from '../../../src/config/schema.ts';
import { toOrganizationId, toUserId, type Principal } from '../../../src/policy/principal.ts';
import { type Allowances, createLimits } from '../../../src/limits/limits.ts';
import { createMemoryAllowances } from '../../../src/limits/memory.ts';
import type { Decision } from '../../../src/policy/decision.ts';
import type { ModelId } from '../../../src/policy/grant.ts';
import type { Scope } from '../../../src/gate/scope.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';

const FEW: LimitsConfig = {
  address: { count: 20, windowSeconds: 60, burst: 19 },
  user: { count: 3, windowSeconds: 60, burst: 2 },
  chat: { count: 2, windowSeconds: 60, burst: 1 },
  organization: { count: 3, windowSeconds: 60, burst: 2 },
  concurrentChats: 1,
};

const ANN: Principal = { kind: 'user', id: toUserId('ann'), role: 'user' };
const BOB: Principal = { kind: 'user', id: toUserId('bob'), role: 'user' };
const ANONYMOUS: Principal = { kind: 'anonymous', because: 'credential_invalid' };
const GRANTED: Decision = {
  effect: 'permit',
  reason: 'grant',
  model: 'A' as ModelId,
  grant: { organization: toOrganizationId('acme'), pattern: 'A' },
  chain: [],
};

/** The same answers, later. */
function late(allowances: Allowances): Allowances {
  return {
    ...allowances,
    take: (charges) => Promise.resolve().then(() => allowances.take(charges)),
    start: (...started) => Promise.resolve().then(() => allowances.start(...started)),
  };
}

describe.each([
  ['at once', (allowances: Allowances) => allowances],
  ['late', late],
])('where the counter answers %s', (_when, wrap) => {
  function start(limits: Partial<LimitsConfig> = {}) {
    const told: string[] = [];
    let running = 0;
    const parts = {
      allowances: wrap(createMemoryAllowances({ ...FEW, ...limits }, () => 1_000)),
      countedAs: () => 'request' as const,
      runsModel: () => true,
      clientAddress: () => '192.0.2.7',
      metrics: {
        limited: (limit: string) => void told.push(limit),
        invocations: (change: number) => void (running += change),
      },
    };
    const limits_ = createLimits(parts);
    const scopeOf = (principal: Principal): Scope => Object.assign(sampleScope(), { principal });
    /** @returns the limit that refused, or undefined */
    const admit = async (principal: Principal, counted?: 'request' | 'sign_in'): Promise<string | undefined> => {
      const scope = scopeOf(principal);
      await Promise.resolve()
        .then(() => limits_.admit(scope, counted))
        .catch(() => undefined);
      return scope.limit;
    };
    const invoke = async (principal: Principal, decision: Decision | undefined = GRANTED) => {
      const scope = scopeOf(principal);
      const release = await Promise.resolve()
        .then(() => limits_.admitInvocation(scope, decision))
        .catch(() => undefined);
      return { release, limit: scope.limit, scope };
    };
    return { admit, invoke, told, running: () => running, limits: limits_, scopeOf };
  }

  test('a user is counted at any address, an address under any claimed user', async () => {
    const { admit, told } = start();
    expect([await admit(ANN), await admit(ANN), await admit(ANN), await admit(ANN)]).toEqual([
      ...[undefined, undefined, undefined],
      'user',
    ]);
    expect(await admit(BOB)).toBeUndefined();
    for (let request = 0; request < 20; request += 1) expect(await admit(ANONYMOUS)).toBeUndefined();
    expect(await admit(ANONYMOUS)).toBe('address');
    expect(await admit(BOB)).toBeUndefined();
    expect(told).toEqual(['user', 'address']);
  });

  test('a sign-in costs the address ten, also with a session, and is refused before it costs the user', async () => {
    const { admit } = start();
    expect([await admit(ANONYMOUS, 'sign_in'), await admit(ANN, 'sign_in'), await admit(ANN, 'sign_in')]).toEqual([
      ...[undefined, undefined],
      'address',
    ]);
    expect([await admit(ANN), await admit(ANN), await admit(ANN)]).toEqual([undefined, undefined, 'user']);
  });

  test('while the database is away a user is proved by the token, or not at all', async () => {
    const { admit } = start();
    const claimed: Principal = { kind: 'unresolved', claimed: toUserId('ann') };
    expect([await admit(claimed), await admit(claimed), await admit(claimed), await admit(claimed)].at(-1)).toBe(
      'user',
    );
    expect([await admit(ANN), await admit({ kind: 'unresolved' })]).toEqual(['user', undefined]);
  });

  test('a place is taken until it is given back, and a refused chat costs nothing', async () => {
    const { invoke, running, told } = start();
    const first = await invoke(ANN);
    expect(running()).toBe(1);
    for (let again = 0; again < 5; again += 1) expect((await invoke(ANN)).limit).toBe('concurrent-chats');
    first.release?.();
    first.release?.();
    expect(running()).toBe(0);
    const second = await invoke(ANN);
    expect([second.limit, running()]).toEqual([undefined, 1]);
    second.release?.();
    expect((await invoke(ANN)).limit).toBe('chat');
    expect([running(), told.at(-1)]).toEqual([0, 'chat']);
  });

  test('the organization whose grant permitted it is charged, and none where none did', async () => {
    const { invoke } = start({ chat: 'off', concurrentChats: 'off' });
    const ungranted: Decision = { effect: 'permit', reason: 'media_model', model: 'A' as ModelId, chain: [] };
    for (let request = 0; request < 9; request += 1) expect((await invoke(ANN, ungranted)).limit).toBeUndefined();
    expect([(await invoke(ANN)).limit, (await invoke(BOB)).limit, (await invoke(ANN)).limit]).toEqual([
      ...[undefined, undefined, undefined],
    ]);
    expect((await invoke(BOB)).limit).toBe('organization');
    const other = { ...GRANTED, grant: { organization: toOrganizationId('globex'), pattern: 'A' } };
    expect((await invoke(BOB, other)).limit).toBeUndefined();
  });

  test('of two stages the limit that has less left is reported, once', async () => {
    const { limits, scopeOf } = start({ user: { count: 100, windowSeconds: 60, burst: 99 } });
    const scope = scopeOf(ANN);
    await limits.admit(scope);
    await limits.admitInvocation(scope, GRANTED);
    const lines: string[] = [];
    for (const edit of scope.answerEdits) edit(lines, 200);
    expect(lines.filter((name) => name === 'ratelimit')).toHaveLength(1);
    expect(lines).toContain('"chat";r=1;t=30');
  });
});
