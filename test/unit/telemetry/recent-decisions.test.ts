import { describe, expect, test } from 'vitest';
import { toOrganizationId, toUserId } from '../../../src/policy/principal.ts';
import { type Decision, deny } from '../../../src/policy/decision.ts';
import type { ModelId } from '../../../src/policy/grant.ts';
import type { Scope } from '../../../src/gate/scope.ts';
import { createRecentDecisions } from '../../../src/telemetry/recent-decisions.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';

const model = 'gpt-4o' as ModelId;
const permit: Decision = {
  effect: 'permit',
  reason: 'preset_base',
  model: 'helper' as ModelId,
  grant: { organization: toOrganizationId('acme'), pattern: 'gpt-4o' },
  chain: ['helper' as ModelId, model],
};
const idOf = (at: number): string => `d-${String(at).padStart(10, '0')}`;
const same = (text: string): string => text;

function scopeOf(path: string): Scope {
  const scope = sampleScope();
  scope.principal = { kind: 'user', id: toUserId('u-1'), role: 'user' };
  scope.path = path;
  return scope;
}

describe('the record of decisions', () => {
  test('says what the access line says, what decided, and the end of the request once there is one', () => {
    const decisions = createRecentDecisions(same);
    const scope = scopeOf('/api/chat/completions');
    const end = decisions.keep(idOf(1), scope, permit, [], 'enforce');
    expect(decisions.find(idOf(1))).toMatchObject({ status: null, duration_ms: null });
    Object.assign(end, { status: 200, duration_ms: 12.35 });
    expect(decisions.find(idOf(1))).toEqual({
      id: idOf(1),
      at: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      decision: 'permit',
      reason: 'preset_base',
      enforced: true,
      user: { id: 'u-1', role: 'user' },
      anonymous: null,
      organizations: null,
      model: 'helper',
      chain: ['helper', 'gpt-4o'],
      grant: { organization: 'acme', pattern: 'gpt-4o' },
      request_id: scope.requestId,
      method: scope.incoming.method,
      path: '/api/chat/completions',
      status: 200,
      duration_ms: 12.35,
    });
  });

  test('says of a denial which organizations there were, and that a report enforced nothing', () => {
    const decisions = createRecentDecisions(same);
    decisions.keep(idOf(1), scopeOf('/x'), deny('not_granted', model, [model]), ['acme', 'globex'], 'report');
    expect(decisions.find(idOf(1))).toMatchObject({
      decision: 'deny',
      enforced: false,
      organizations: ['acme', 'globex'],
      grant: null,
    });
  });

  test('keeps the last ones, and says since when', () => {
    const decisions = createRecentDecisions(same, 3);
    for (let at = 0; at < 5; at += 1) {
      decisions.keep(idOf(at), scopeOf('/x'), permit, [], 'enforce');
    }
    const oldest = decisions.find(idOf(2));
    expect(oldest).toMatchObject({ id: idOf(2) });
    expect(decisions.find(idOf(1))).toEqual({ why: 'gone', kept: 3, since: 'at' in oldest ? oldest.at : '' });
    expect(decisions.find('nonsense')).toMatchObject({ why: 'malformed' });
  });

  test('reads an id as a user reads it out', () => {
    const decisions = createRecentDecisions(same);
    decisions.keep('d-01az01az01', scopeOf('/x'), permit, [], 'enforce');
    expect(decisions.find(' D-OIAZoLaz01 ')).toMatchObject({ id: 'd-01az01az01' });
  });

  test('has no query, nothing that looks like a secret, and texts of bounded length', () => {
    const decisions = createRecentDecisions((text) => text.replaceAll('hunter2', '[redacted]'));
    const scope = scopeOf('');
    scope.incoming.url = `/api/models?id=${'q'.repeat(60_000)}`;
    decisions.keep(idOf(1), scope, deny('not_granted', `hunter2${'m'.repeat(1_000)}` as ModelId), [], 'enforce');
    const found = decisions.find(idOf(1));
    expect(found).toMatchObject({ path: '/api/models', model: `[redacted]${'m'.repeat(249)}…` });
    expect(JSON.stringify(found)).not.toContain('qqq');
  });

  test('keeps no more of a long path than it shows', () => {
    const decisions = createRecentDecisions(same);
    const before = process.memoryUsage().heapUsed;
    for (let at = 0; at < 12_000; at += 1) {
      const scope = scopeOf('');
      scope.incoming.url = Buffer.from(`/api/models/${String(at)}?${'q'.repeat(50_000)}`).toString();
      decisions.keep(idOf(at), scope, deny('not_granted', model), ['acme'], 'enforce');
    }
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(200_000_000);
  });
});
