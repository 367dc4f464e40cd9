import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../../src/errors.ts';
import { toOrganizationId, toUserId } from '../../../src/policy/principal.ts';
import { type Decision, deny } from '../../../src/policy/decision.ts';
import { compileGrants, parseModelId, type GrantSet, type ModelId } from '../../../src/policy/grant.ts';
import type { Scope } from '../../../src/gate/scope.ts';
import { type Audit, createAudit } from '../../../src/telemetry/audit.ts';
import { type RecentDecisions, createRecentDecisions } from '../../../src/telemetry/recent-decisions.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';

const model = (id: string): ModelId => parseModelId(id) ?? expect.fail(id);
const gpt = model('gpt');
const permit: Decision = {
  effect: 'permit',
  reason: 'grant',
  model: gpt,
  grant: { organization: toOrganizationId('acme'), pattern: 'gpt' },
  chain: [gpt],
};

interface Collected {
  readonly audit: Audit;
  readonly lines: object[];
  readonly explained: object[];
  readonly decided: unknown[][];
  readonly listed: unknown[][];
  readonly decisions: RecentDecisions;
}

const grantsIn = (id: string): GrantSet => compileGrants(toOrganizationId(id), ['gpt']);

function collect(mode: 'enforce' | 'report' = 'enforce', isUnreadable = false): Collected {
  const lines: object[] = [];
  const explained: object[] = [];
  const decided: unknown[][] = [];
  const listed: unknown[][] = [];
  const decisions = createRecentDecisions((text) => text);
  const audit = createAudit({
    mode,
    decisions,
    log: {
      record: (level, fields, message) => lines.push({ level, ...fields, message }),
      explain: (fields, message) => explained.push({ ...fields, message }),
      sparingly: (level, kind, fields, message) => lines.push({ level, kind, ...fields, message }),
    },
    metrics: {
      decided: (...all) => decided.push(all),
      listFiltered: (...all) => listed.push(all),
      answerUnreadable: (...all) => listed.push(all),
    },
    store: {
      current: () => {
        if (isUnreadable) throw new GatewayError('policy_unavailable');
        return { grantsOf: ({ id }) => (id === 'u1' ? ['acme', 'globex'].map(grantsIn) : []) };
      },
    },
  });
  return { audit, lines, explained, decided, listed, decisions };
}

function scopeOf(user: string): Scope {
  const scope = sampleScope();
  scope.principal = { kind: 'user', id: toUserId(user), role: 'user' };
  return scope;
}

describe('recordDecision', () => {
  test('attaches decision and id to the request and writes no line of its own', () => {
    const { audit, lines, decided } = collect();
    const scope = sampleScope();
    const id = audit.recordDecision(scope, permit, 0.01);
    expect(id).toMatch(/^d-[0-9a-hjkmnp-tv-z]{10}$/);
    expect(scope).toMatchObject({ decision: permit, decisionId: id });
    expect(lines).toEqual([]);
    expect(decided).toEqual([[permit, 0.01, []]]);
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
    audit.recordLateDecision(scope, deny('preset_base_not_granted', gpt, [gpt, model('base')]));
    expect(lines).toEqual([
      {
        level: 'warn',
        message: 'decision',
        request_id: scope.requestId,
        decision: 'deny',
        reason: 'preset_base_not_granted',
        decision_id: expect.stringMatching(/^d-/) as string,
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

describe('a denial is counted', () => {
  test('for each organization of the user', () => {
    const { audit, decided } = collect();
    audit.recordDecision(scopeOf('u1'), deny('not_granted', gpt), 0.01);
    audit.recordDecision(scopeOf('u2'), deny('no_organization', gpt));
    audit.recordDecision(sampleScope(), deny('not_authenticated'));
    expect(decided.map(([decision, , organizations]) => [(decision as Decision).reason, organizations])).toEqual([
      ['not_granted', ['acme', 'globex']],
      ['no_organization', []],
      ['not_authenticated', []],
    ]);
  });

  test('for no organization while the database cannot be read', () => {
    const { audit, decided } = collect('enforce', true);
    audit.recordDecision(scopeOf('u1'), deny('not_granted', gpt), 0.01);
    expect(decided).toMatchObject([[{ reason: 'not_granted' }, 0.01, []]]);
  });
});

describe('the line that explains', () => {
  test('a permit names the organizations of the user, the model, and the grant that gives access', () => {
    const { audit, explained } = collect();
    const id = audit.recordDecision(scopeOf('u1'), permit, 0.01);
    expect(explained).toMatchObject([
      {
        message: 'access to a model was decided',
        decision_id: id,
        user: 'u1',
        role: 'user',
        organizations: 'acme, globex',
        model: 'gpt',
        access: 'permit',
        reason: 'grant',
        organization: 'acme',
        grant: 'gpt',
      },
    ]);
  });

  test('a denial says so too, also where it comes late', () => {
    const { audit, explained } = collect();
    audit.recordLateDecision(scopeOf('u2'), deny('no_organization', gpt));
    expect(explained).toMatchObject([{ access: 'deny', reason: 'no_organization', organizations: '', model: 'gpt' }]);
  });

  test('a list says whose it is and how much of it was cut', () => {
    const { audit, explained, listed } = collect();
    audit.recordList(scopeOf('u1'), 'models', 3, 40);
    expect(listed).toEqual([['models', 3, 40]]);
    expect(explained).toMatchObject([
      { user: 'u1', organizations: 'acme, globex', list: 'models', kept: 3, removed: 40 },
    ]);
  });
});

describe('recordUnreadable', () => {
  test('counts the list and says why it could not be read, without a stack and without what stood there', () => {
    const { audit, lines, listed } = collect();
    const scope = { ...sampleScope(), path: '/api/models', requestId: 'r-1' };
    const text = 'a prompt of a user';
    for (const cause of [new Error('the answer holds no list of models'), thrownBy(() => JSON.parse(text))]) {
      audit.recordUnreadable(scope, 'models', cause);
    }
    expect(listed).toEqual([['models'], ['models']]);
    expect(lines).toMatchObject([
      { level: 'warn', kind: 'models the answer holds no list of models', path: '/api/models', list: 'models' },
      { cause: 'the answer is no JSON', request_id: 'r-1' },
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/prompt|stack/);
  });
});

function thrownBy(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return error;
  }
}
