/** What a call costs. Pure, and exact: amounts are integers, and rounded once. */
import { type Usage, NANO } from './usage.ts';

/** In USD a token, `request` in USD a call. What is not known is undefined; free is only what says so. */
export interface Price {
  readonly input?: number | undefined;
  /** Input from the provider's cache; undefined: costs as other input does. */
  readonly cached?: number | undefined;
  /** Input written to the provider's cache; undefined: costs as other input does. */
  readonly cacheWrite?: number | undefined;
  readonly output?: number | undefined;
  readonly request?: number | undefined;
  readonly free: boolean;
}

/**
 * @param usage token counts as integers
 * @returns nano-USD, rounded half up; undefined where the usage is not known, a part of it has no price (never 0 for that), or no ledger could hold it
 */
export function costOf(price: Price, usage: Usage): number | undefined {
  if (price.free) return 0;
  const { input, output, request } = price;
  const tokens = input === undefined && output === undefined ? undefined : tokenCostOf(price, usage);
  if (tokens === 'unpriced' || (tokens === undefined && request === undefined)) return undefined;
  const cost = rounded((tokens ?? 0n) + exact(request ?? 0));
  return cost <= MOST_NANO ? cost : undefined;
}

/** @returns undefined where no tokens are known */
function tokenCostOf(price: Price, usage: Usage): bigint | 'unpriced' | undefined {
  const { input, inputCached = 0, inputCacheWrite = 0, output } = usage;
  if (input === undefined && output === undefined) return undefined;
  const parts: readonly (readonly [tokens: number, price: number | undefined])[] = [
    [Math.max(0, (input ?? 0) - inputCached - inputCacheWrite), price.input],
    [inputCached, price.cached ?? price.input],
    [inputCacheWrite, price.cacheWrite ?? price.input],
    [output ?? 0, price.output],
  ];
  let sum = 0n;
  for (const [count, each] of parts) {
    if (count === 0) continue;
    if (each === undefined) return 'unpriced';
    sum += BigInt(count) * exact(each);
  }
  return sum;
}

/** No call costs ten million dollars: a thousand of them would be more than a sum can hold. */
export const MOST_NANO = 1e16;

/** Amounts are counted in 1e-30 USD. */
const DIGITS = 30;
/** A double holds every decimal number of 15 digits: what is behind them is noise of the conversion. */
const SIGNIFICANT = 15;
const SMALLEST = 10 ** (SIGNIFICANT - 1 - DIGITS);

function exact(usd: number): bigint {
  if (usd < SMALLEST) return 0n;
  const [digits = '', exponent] = usd.toExponential(SIGNIFICANT - 1).split('e');
  return BigInt(digits.replace('.', '')) * 10n ** BigInt(DIGITS - SIGNIFICANT + 1 + Number(exponent));
}

const UNITS_PER_NANO = 10n ** BigInt(DIGITS) / BigInt(NANO);

const rounded = (amount: bigint): number => Number((amount + UNITS_PER_NANO / 2n) / UNITS_PER_NANO);

/** @returns the number with its decimal point moved, without the error of a multiplication */
export function shifted(value: number, places: number): number {
  const [digits = '', exponent] = value.toExponential().split('e');
  return Number(`${digits}e${Number(exponent) + places}`);
}

/** No model is this dear or this cheap by the token, in USD: the number was meant for a million tokens, or for one. */
export const PLAUSIBLE = { most: 0.01, least: 1e-10 } as const;

/** Is it a price by the token that any model can have? */
export const isPlausible = (usd: number): boolean => usd === 0 || (usd >= PLAUSIBLE.least && usd <= PLAUSIBLE.most);
