/** What a call keeps of its budgets until its figures are known, or why it may not begin. Pure. */
import type { Admission, Amount, Call, Charge, Refusal } from './call.ts';
import type { Mean } from './means.ts';
import { type Price, costOf } from './price.ts';

/** What is known of the model before the call. */
interface Known {
  readonly price: Price | undefined;
  /** Longest answer, and that with all that it reads, in tokens. */
  readonly maxOutput: number | undefined;
  readonly context: number | undefined;
  /** Of the payer's calls so far. */
  readonly mean: Mean | undefined;
  /** Tokens of the body, about. */
  readonly input: number;
}

export const NOTHING: Amount = { nano: 0, tokens: 0, requests: 0 };
/** Every call is one. */
export const ONE: Amount = { ...NOTHING, requests: 1 };

/** A call that costs nothing passes budgets of money, and is counted by all others. */
export function isFreeCall(call: Call, { price }: Pick<Known, 'price'>): boolean {
  return call.isFree || price?.free === true;
}

/** What a call keeps, and what must be left for it: `typical` keeps more, so that others at the same time do not go far beyond. */
interface Reservation {
  readonly amount: Amount;
  readonly room: Amount;
}

const bothOf = (amount: Amount): Reservation => ({ amount, room: amount });

export function reservationOf(call: Call, admission: Admission, known: Known): Reservation | Refusal {
  const { charges, reserve, allowsUnpriced, maxOutput = known.maxOutput, choices } = admission;
  const hard = charges.filter(({ isHard }) => isHard);
  if (hard.length === 0 || reserve === 'none') return bothOf(ONE);
  const { price, mean } = known;
  const isFree = isFreeCall(call, known);
  // of a price without output nothing that is written can be charged
  const writes = maxOutput !== 0 && call.kind !== 'media';
  const isKnown = price !== undefined && costOf(price, { input: 1, output: writes ? 1 : 0 }) !== undefined;
  const isPriced = isFree || isKnown || (reserve === 'typical' && mean?.cost !== undefined);
  const ofMoney = hard.find(({ measure }) => measure === 'usd');
  if (ofMoney !== undefined && !isPriced && !allowsUnpriced) return refusal('unpriced_model', ofMoney);
  if (reserve === 'typical') {
    const cost = price === undefined ? 0 : (costOf(price, { input: known.input, output: 0 }) ?? 0);
    const means = (times: number): Amount => ({
      nano: isFree ? 0 : Math.ceil(Math.max(cost, times * (mean?.cost ?? 0))),
      tokens: Math.ceil(known.input + times * (mean?.output ?? 0)),
      requests: 1,
    });
    return { amount: means(2), room: means(1) };
  }
  const bounded = hard.find(({ measure }) => measure === 'tokens' || (measure === 'usd' && !isFree));
  if (call.isFree || bounded === undefined) return bothOf(ONE);
  if (choices === undefined) return refusal('unbounded_model', bounded);
  // No token is shorter than a byte; a reranker reads the question with each document
  const body = call.kind === 'service' ? call.bytesIn * choices : call.bytesIn;
  const input = { body, context: known.context, unbounded: undefined }[admission.reads];
  if (maxOutput === undefined || input === undefined) return refusal('unbounded_model', bounded);
  const output = maxOutput * choices;
  const most = { input, inputCacheWrite: dearerWrite(price) ? input : 0, output };
  const nano = isFree || price === undefined || !isKnown ? 0 : (costOf(price, most) ?? Number.MAX_SAFE_INTEGER);
  return bothOf({ nano, tokens: input + output, requests: 1 });
}

/** @returns what is enough for each of them */
export const mostOf = (amounts: readonly Amount[]): Amount => ({
  nano: Math.max(...amounts.map(({ nano }) => nano)),
  tokens: Math.max(...amounts.map(({ tokens }) => tokens)),
  requests: 1,
});

const dearerWrite = (price: Price | undefined): boolean => (price?.cacheWrite ?? 0) > (price?.input ?? 0);

/** @param isFree passes budgets of money @returns the first hard budget that has no room for the amount */
export const firstFull = (
  charges: readonly Charge[],
  amount: Amount,
  isFree: boolean,
  usedOf: (charge: Charge) => number,
): Charge | undefined =>
  charges.find((charge) => {
    if (!charge.isHard || (charge.measure === 'usd' && isFree)) return false;
    // what reserves nothing still needs room
    const wanted = Math.max(1, { usd: amount.nano, tokens: amount.tokens, requests: amount.requests }[charge.measure]);
    return usedOf(charge) + wanted > charge.amount;
  });

export const refusal = (because: Refusal['because'], { budget }: Charge): Refusal => ({
  kind: 'refused',
  because,
  budget,
});
