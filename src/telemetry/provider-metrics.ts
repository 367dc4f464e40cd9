/** What the provider door counts: its requests, and what they use. */
import type { Decision } from '../policy/decision.ts';
import { LATENCY, UPSTREAM, createCounter, createHistogram, gaugeText, statusClass } from './figures.ts';

const MAX_USAGE_ROWS = 4_000;

interface EndedAtProvider {
  readonly status: number;
  readonly decision: string;
  readonly addedMs?: number | undefined;
  readonly firstByteMs?: number | undefined;
}

/** The provider door counts its requests apart, by provider and endpoint. */
export function createProviderMetrics(mode: () => 'enforce' | 'report') {
  const figures = {
    requests: createCounter(
      'provider_requests_total{provider,endpoint,status,decision} Requests at the provider door by provider, endpoint, status class and decision.',
    ),
    denials: createCounter('provider_denials_total{reason,enforced} Denials at the provider door by reason.'),
    added: createHistogram(
      'provider_added_seconds Latency added by the provider door: from the arrival of a request until it is sent to the provider.',
      LATENCY,
    ),
    firstByte: createHistogram(
      'provider_first_byte_seconds From the request sent to the provider to its response headers.',
      UPSTREAM,
    ),
  };
  return {
    figures,
    requestEnded(provider: string, endpoint: string, ended: EndedAtProvider): void {
      const { status, decision, addedMs, firstByteMs } = ended;
      figures.requests.add(1, provider, endpoint, statusClass(status), decision);
      if (addedMs !== undefined) figures.added.observe(addedMs / 1000);
      if (firstByteMs !== undefined) figures.firstByte.observe(firstByteMs / 1000);
    },
    decided({ effect, reason }: Decision): void {
      if (effect === 'deny') figures.denials.add(1, reason, String(mode() === 'enforce'));
    },
  };
}

/** Of one call, or the sum of many that an earlier process has counted. */
interface UsageFigures {
  readonly organization: string;
  readonly model: string;
  readonly kind: string;
  readonly measured: string;
  readonly requests: number;
  /** Tokens. */
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly reasoning: number;
  /** In nano-USD. */
  readonly cost: number;
  readonly unpriced: number;
}

const PARTS = ['input', 'cached', 'output', 'reasoning'] as const;

/** No label is a user; models are those of calls that were permitted. */
export function createUsageMetrics() {
  const figures = {
    tokens: createCounter(
      'usage_tokens_total{organization,model,part} Tokens by the organization that pays; cached is a part of input, reasoning of output.',
      MAX_USAGE_ROWS,
    ),
    cost: createCounter('usage_cost_usd_total{organization,model} Cost in US dollars.', MAX_USAGE_ROWS),
    requests: createCounter(
      'usage_requests_total{organization,kind,measured} Calls by what ran them, and by where their figures come from.',
      MAX_USAGE_ROWS,
    ),
    unpriced: createCounter('usage_unpriced_total{model} Calls of models that have no price.', MAX_USAGE_ROWS),
    refusals: createCounter('budget_refusals_total{organization} Calls that a budget has refused.', MAX_USAGE_ROWS),
    warnings: createCounter(
      'budget_warnings_total{organization} Budgets that have reached their soft limit, once a period each.',
      MAX_USAGE_ROWS,
    ),
    commit: createHistogram('ledger_commit_seconds From the first call that waits to its commit.', LATENCY),
  };
  return {
    figures,
    counted({ organization, model, kind, measured, requests, cost, unpriced, ...tokens }: UsageFigures): void {
      for (const part of PARTS) figures.tokens.add(tokens[part], organization, model, part);
      figures.cost.add(cost / 1e9, organization, model);
      figures.requests.add(requests, organization, kind, measured);
      if (unpriced > 0) figures.unpriced.add(unpriced, model);
    },
    refused: (organization: string) => figures.refusals.add(1, organization),
    warned: (organization: string) => figures.warnings.add(1, organization),
    committed: (ms: number) => figures.commit.observe(ms / 1000),
  };
}

/** A budget of a whole organization in the period that runs, in its measure. */
export interface BudgetFigures {
  readonly organization: string;
  readonly measure: string;
  readonly period: string;
  readonly limit: number;
  /** Undefined while the ledger cannot be read. */
  readonly used: { readonly spent: number; readonly reserved: number } | undefined;
}

export function budgetsText(budgets: readonly BudgetFigures[]): string {
  const series = (name: string, help: string, valueOf: (budget: BudgetFigures) => number | undefined): string =>
    gaugeText(
      `budget_${name}{organization,measure,period} ${help}`,
      budgets.flatMap((budget) => {
        const { organization, measure, period } = budget;
        const value = valueOf(budget);
        return value === undefined ? [] : [[value, organization, measure, period] as const];
      }),
    );
  return [
    series('limit', 'What organizations may use in the period that runs, in the measure.', ({ limit }) => limit),
    series('spent', 'What of it is used.', ({ used }) => used?.spent),
    series('reserved', 'What of it calls that run may use.', ({ used }) => used?.reserved),
  ].join('');
}
