/** Money as text, without a float. Pure. */

/** @returns USD, exact to the nano, with two digits or more behind the point */
export const inUsd = (nano: bigint): string => asText(nano, 9).replace(/(\.\d\d\d*?)0+$/, '$1');

function asText(value: bigint, scale: number): string {
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
