/** Money and what multiplies it, as exact decimals: whole digits and how many of them stand behind the point. Pure, without a float. */

export interface Decimal {
  /** As it was written. */
  readonly text: string;
  readonly digits: bigint;
  readonly scale: number;
}

/** More digits are a mistake of typing. */
const DECIMAL = /^(\d{1,6})(?:\.(\d{1,8}))?$/;

/** @returns undefined for what is no positive number of at most six digits, and eight behind the point */
export function parseDecimal(text: string): Decimal | undefined {
  const [, whole = '', behind = ''] = DECIMAL.exec(text) ?? [];
  const digits = BigInt(`${whole}${behind}` || 0);
  return digits > 0n ? { text, digits, scale: behind.length } : undefined;
}

export const ONE: Decimal = { text: '1', digits: 1n, scale: 0 };

/** @returns USD, exact to the nano, with two digits or more behind the point */
export const inUsd = (nano: bigint): string => asText(nano, 9).replace(/(\.\d\d\d*?)0+$/, '$1');

/** Multiplies first and rounds once. @returns hundredths, half of one away from zero */
export function inCents(nano: bigint, factors: readonly Decimal[]): bigint {
  const product = factors.reduce((sum, { digits }) => sum * digits, nano);
  const one = 10n ** BigInt(factors.reduce((sum, { scale }) => sum + scale, 9 - 2));
  const size = product < 0n ? -product : product;
  const rounded = (2n * size + one) / (2n * one);
  return product < 0n ? -rounded : rounded;
}

/** @param cents hundredths of a currency @returns such as `-12.30` */
export const asAmount = (cents: bigint): string => asText(cents, 2);

function asText(value: bigint, scale: number): string {
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
