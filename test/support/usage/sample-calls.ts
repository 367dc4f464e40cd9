/** A call, its end and what charges it, as most tests of the ledger have them. */
import { randomUUIDv7 } from 'node:crypto';
import type { Admission, Call, Charge, Ending } from '../../../src/usage/call.ts';

export const DAY_MS = 86_400_000;
export const OPENED = { kind: 'opened', nearing: [], sealedKey: null };
export const NO_BUDGET: Admission = {
  ...{ charges: [], reserve: 'typical', allowsUnpriced: false },
  ...{ maxOutput: undefined, choices: 1, reads: 'body', otherModels: [] },
};

export const sampleCall = (more: Partial<Call> & Pick<Call, 'instance'>): Call => ({
  id: randomUUIDv7(),
  startedAt: Date.now(),
  organization: 'acme',
  user: 'ann',
  chat: undefined,
  provider: 'openrouter.ai',
  endpoint: 'chat/completions',
  kind: 'chat',
  model: 'or.A',
  wireModel: 'A',
  isStreamed: true,
  bytesIn: 400,
  isFree: false,
  ...more,
});

export const endingOf = (more: Partial<Ending> = {}): Ending => ({
  state: 'closed',
  endedAt: Date.now(),
  status: 200,
  usage: { input: 100, output: 10, costNano: 5_000 },
  answeredModel: 'A-2026',
  generationId: undefined,
  bytesOut: 1_800,
  ...more,
});

export const chargeOf = (more: Partial<Charge> = {}): Charge => ({
  ...{ budget: 'month', measure: 'usd', amount: 50_000, isHard: true, softAt: undefined },
  ...{ periodStart: 0, periodEnd: Date.now() + DAY_MS, user: '', pattern: '*', ...more },
});
