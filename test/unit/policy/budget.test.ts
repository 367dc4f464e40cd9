import { describe, expect, test } from 'vitest';
import { type StoredBudget, budgetsAt, describeUsedUp } from '../../../src/policy/budget.ts';
import { toOrganizationId } from '../../../src/policy/principal.ts';

const AT = Date.parse('2026-11-27T12:00Z');

const budgetOf = (fields: Partial<StoredBudget> = {}): StoredBudget => ({
  ...{ id: 'b', organization: toOrganizationId('acme'), measure: 'usd', amount: 50, period: 'month' },
  ...{ scope: { kind: 'organization' }, softPercent: 80, isHard: true, timeZone: 'Europe/Warsaw' },
  ...{ raise: { amount: 0, until: Infinity }, validFrom: -Infinity, validTo: Infinity },
  ...fields,
});

describe('whom a budget refuses reads', () => {
  test.each<[fields: Partial<StoredBudget>, said: string]>([
    [{}, 'Acme has used its budget for November (50.00 USD). It begins again on 1 December, 00:00 Europe/Warsaw.'],
    [
      { scope: { kind: 'user' }, amount: 5.5 },
      'You have used your budget for November (5.50 USD). It begins again on 1 December, 00:00 Europe/Warsaw.',
    ],
    [
      { scope: { kind: 'model', pattern: 'openai/*' }, amount: 1_250 },
      'Acme has used its budget for openai/* in November (1,250.00 USD). It begins again on 1 December, 00:00 Europe/Warsaw.',
    ],
    [
      { scope: { kind: 'model', pattern: 'gpt-4o' }, period: 'day', measure: 'tokens', amount: 1_000_000 },
      'Acme has used its budget for gpt-4o on 27 November (1,000,000 tokens). It begins again on 28 November, 00:00 Europe/Warsaw.',
    ],
    [
      { period: 'week', measure: 'requests', amount: 1, timeZone: 'America/Santiago' },
      'Acme has used its budget for the week of 23 November (1 request). It begins again on 30 November, 00:00 America/Santiago.',
    ],
    [
      { period: 'day', amount: 0.000_5, timeZone: undefined },
      'Acme has used its budget for 27 November (0.0005 USD). It begins again on 28 November, 00:00 UTC.',
    ],
    [{ period: 'total' }, 'Acme has used its budget (50.00 USD). It does not begin again.'],
    [
      { period: 'total', scope: { kind: 'model', pattern: '*' } },
      'Acme has used its budget for * (50.00 USD). It does not begin again.',
    ],
  ])('%j', (fields, said) => {
    expect(describeUsedUp(budgetOf(fields), 'Acme', 'UTC', AT)).toBe(said);
  });
});

describe('of stored budgets', () => {
  test.each<[what: string, fields: Partial<StoredBudget>, amounts: number[]]>([
    ['one without dates counts', {}, [50]],
    ['one counts from its first moment on', { validFrom: AT }, [50]],
    ['one does not count before', { validFrom: AT + 1 }, []],
    ['one counts up to its end', { validTo: AT + 1 }, [50]],
    ['one does not count from its end on', { validTo: AT }, []],
    ['a raise counts on top', { raise: { amount: 20, until: AT + 1 } }, [70]],
    ['a raise counts to the nano-USD', { amount: 0.1, raise: { amount: 0.2, until: AT + 1 } }, [0.3]],
    ['a raise has an end', { raise: { amount: 20, until: AT } }, [50]],
  ])('%s', (_what, fields, amounts) => {
    expect(budgetsAt([budgetOf(fields)], AT).map(({ amount }) => amount)).toEqual(amounts);
  });
});
