import { describe, expect, test } from 'vitest';
import { toOrganizationId, toUserId } from '../../../src/identity/principal.ts';
import type { Decision } from '../../../src/policy/decision.ts';
import { deny } from '../../../src/policy/decision.ts';
import { parseModelId } from '../../../src/policy/model-id.ts';
import type { ModelId } from '../../../src/policy/model-id.ts';
import type { Audit } from '../../../src/telemetry/audit.ts';
import { createAudit } from '../../../src/telemetry/audit.ts';
import { sampleScope } from '../../support/sample-scope.ts';

const model = (id: string): ModelId => parseModelId(id) ?? expect.fail(id);
const gpt = model('gpt');
const permit: Decision = {
  effect: 'permit',
  reason: 'grant',
  model: gpt,
  grant: { organization: toOrganizationId('acme'), pattern: 'gpt' },
  chain: [gpt],
};

function collect(mode: 'enforce' | 'report' = 'enforce'): { audit: Audit; lines: object[]; decided: unknown[][] } {
  const lines: object[] = [];
  const decided: unknown[][] = [];
  const audit = createAudit({
    mode,
    log: { record: (level, fields, message) => lines.push({ level, ...fields, message }) },
    metrics: { decided: (...all) => decided.push(all) },
  });
  return { audit, lines, decided };
}

describe('recordDecision', () => {
  test('attaches decision and id to the request and writes no line of its own', () => {
    const { audit, lines, decided } = collect();
    const scope = sampleScope();
    const id = audit.recordDecision(scope, permit, 0.01);
    expect(id).toMatch(/^d-[0-9a-hjkmnp-tv-z]{10}$/);
    expect(scope).toMatchObject({ decision: permit, decisionId: id });
    expect(lines).toEqual([]);
    expect(decided).toEqual([[permit, 0.01]]);
  });

  test('works where the stage before it has already attached the decision', () => {
    const { audit, lines } = collect();
    const scope = sampleScope();
    scope.decision = permit;
    const id = audit.recordDecision(scope, permit);
    expect(scope.decisionId).toBe(id);
    expect(lines).toEqual([]);
  });

  test('keeps the first denial, and gives every other decision a line', () => {
    const { audit, lines } = collect();
    const scope = sampleScope();
    const first = audit.recordDecision(scope, permit);
    const denial = deny('not_granted', model('other'));
    const second = audit.recordDecision(scope, denial);
    const third = audit.recordDecision(scope, permit);
    expect(scope).toMatchObject({ decision: denial, decisionId: second });
    expect(lines).toMatchObject([
      { decision_id: first, decision: 'permit' },
      { decision_id: third, decision: 'permit' },
    ]);
  });

  test('gives ids that do not repeat', () => {
    const { audit } = collect();
    const ids = new Set(Array.from({ length: 5_000 }, () => audit.recordDecision(sampleScope(), permit)));
    expect(ids.size).toBe(5_000);
  });
});

describe('recordLateDecision', () => {
  test('writes who, what and why in one line', () => {
    const { audit, lines } = collect();
    const scope = sampleScope();
    scope.principal = { kind: 'user', id: toUserId('u1'), role: 'user' };
    const id = audit.recordLateDecision(scope, deny('preset_base_not_granted', gpt, [gpt, model('base')]));
    expect(lines).toEqual([
      {
        level: 'warn',
        message: 'decision',
        request_id: scope.requestId,
        decision: 'deny',
        reason: 'preset_base_not_granted',
        decision_id: id,
        model: 'gpt',
        chain: 'gpt > base',
        user: 'u1',
      },
    ]);
  });

  test('says of a denial in report mode that it was not enforced', () => {
    const { audit, lines } = collect('report');
    audit.recordLateDecision(sampleScope(), deny('not_granted', gpt));
    audit.recordLateDecision(sampleScope(), permit);
    expect(lines[0]).toMatchObject({ enforced: false });
    expect(lines[1]).toMatchObject({ organization: 'acme', enforced: undefined });
  });
});
