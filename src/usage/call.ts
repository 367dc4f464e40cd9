/** What the ledger knows of a call: when it begins, and when it has ended. Plain values, which can go to a thread. */
import type { Kind, Measured, Usage } from './usage.ts';

/** Who calls what, before the request leaves. */
export interface Call {
  /** UUID of version 7; the provider gets it as `x-request-id`. */
  readonly id: string;
  /** The process that runs it. */
  readonly instance: string;
  readonly startedAt: number;
  /** Who pays; empty where no organization does. */
  readonly organization: string;
  /** Empty where the backend has named none. */
  readonly user: string;
  readonly chat: string | undefined;
  /** Host of the provider, with its port. */
  readonly provider: string;
  readonly endpoint: string;
  readonly kind: Kind;
  /** As the backend's lists, and so grants, name it; and as the provider is asked for it. */
  readonly model: string;
  readonly wireModel: string;
  readonly isStreamed: boolean;
  readonly bytesIn: number;
  /** Does it cost anything at all? Counting tokens does not. */
  readonly isFree: boolean;
}

/** What a budget says of one call: its period is that of the call's start. */
export interface Charge {
  readonly budget: string;
  readonly measure: 'usd' | 'tokens' | 'requests';
  /** Nano-USD, tokens or requests. */
  readonly amount: number;
  readonly isHard: boolean;
  /** Said once when so much is spent; undefined where it never is. */
  readonly softAt: number | undefined;
  readonly periodStart: number;
  readonly periodEnd: number;
  /** Of a budget for each user; otherwise empty. */
  readonly user: string;
  /** Models that it counts: an id, or a prefix that ends in `*`. */
  readonly pattern: string;
}

/** What a call has used, or may use, in every measure of budgets. */
export interface Amount {
  readonly nano: number;
  readonly tokens: number;
  readonly requests: number;
}

/** How much of a budget a call keeps until its figures are known. */
export type Reserve = 'typical' | 'maximum' | 'none';

export interface Admission {
  readonly charges: readonly Charge[];
  readonly reserve: Reserve;
  /** May a model without a price run on a hard budget of money? */
  readonly allowsUnpriced: boolean;
  /** Tokens that the caller allows to be written, in each of so many choices; undefined where that is not known. */
  readonly maxOutput: number | undefined;
  readonly choices: number | undefined;
  /** What the model may read: the body of the call, all of its context, or more than that. */
  readonly reads: 'body' | 'context' | 'unbounded';
  /** What the provider may run in the place of the model, by its own choice. */
  readonly otherModels: readonly string[];
}

/** A budget at its soft share: how much of it is spent and reserved, in its measure. */
export interface Nearing {
  readonly budget: string;
  readonly used: number;
}

export interface Refusal {
  readonly kind: 'refused';
  /** Its budget is used up; the model has no price; or no limit to what it may write. */
  readonly because: 'budget_exceeded' | 'unpriced_model' | 'unbounded_model';
  /** Of the charges, the one that refuses. */
  readonly budget: string;
}

interface Opened {
  readonly kind: 'opened';
  /** The payer's own with the provider, as it is stored; null where it has none. */
  readonly sealedKey: Uint8Array | null;
}

export type Opening = (Opened | Refusal) & { readonly nearing: readonly Nearing[] };

/** What is known when a call has ended. */
export interface Ending {
  /**
   * `closed`: an answer to its end. `failed`: an error of the provider, or no answer at all. `interrupted`: cut, so that the
   * provider may have charged more than was seen.
   */
  readonly state: 'closed' | 'failed' | 'interrupted';
  readonly endedAt: number;
  readonly status: number | undefined;
  readonly usage: Usage | undefined;
  readonly answeredModel: string | undefined;
  /** Of the other models that the call allows, the one that has answered: it is counted, and not the one that was asked first. */
  readonly ranInstead?: Pick<Call, 'model' | 'wireModel'> | undefined;
  readonly generationId: string | undefined;
  /** Of the answer; undefined where that was not seen. */
  readonly bytesOut: number | undefined;
}

/** The end of a call of whose answer nothing has come. */
export const unanswered = (state: Ending['state']): Ending => ({
  ...{ state, endedAt: Date.now(), status: undefined, usage: undefined },
  ...{ answeredModel: undefined, generationId: undefined, bytesOut: undefined },
});

/** What the ledger has written of it. */
export interface Settled {
  /** Undefined where that is still to be found out. */
  readonly measured: Measured | undefined;
  readonly usage: Usage;
  /** Undefined where it has no price, or is not known yet. */
  readonly costNano: number | undefined;
  /** Budgets that have just reached their soft share. */
  readonly softReached: readonly string[];
}

/** As metrics count it. */
export function metricsOf(
  { organization, model, kind }: Pick<Call, 'organization' | 'model' | 'kind'>,
  { measured = 'none', usage, costNano }: Settled,
) {
  const { input = 0, inputCached: cached = 0, output = 0, outputReasoning: reasoning = 0 } = usage;
  const unpriced = Number(costNano === undefined);
  const figures = { input, cached, output, reasoning, cost: costNano ?? 0, unpriced };
  return { organization, model, kind, measured, requests: 1, ...figures };
}
