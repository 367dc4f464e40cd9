/** Months that were closed: what was billed of them, and what has come later. */
import type { Span } from '../policy/period.ts';
import type { Connection } from '../store/database.ts';
import { noSums, sumSlots } from './slots.ts';

interface Closing extends Span {
  /** Such as `2026-11`. */
  readonly period: string;
  /** As it was billed, with the correction that was billed in this month. */
  readonly costNano: bigint;
}

const CLOSINGS = `
  SELECT period, starts_at AS "from", ends_at AS "to", cost_nano || '' AS cost FROM usage_closing
  WHERE organization_id = ? ORDER BY period`;

/** @returns in the order of months */
export const readClosings = (connection: Connection, organization: string): readonly Closing[] =>
  connection
    .prepare<[string], Omit<Closing, 'costNano'> & { readonly cost: string }>(CLOSINGS)
    .all(organization)
    .map(({ cost, ...closing }) => ({ ...closing, costNano: BigInt(cost) }));

function costIn(connection: Connection, organization: string, span: Span): bigint {
  const [sums = noSums()] = sumSlots(connection, [organization], span, ['organization']);
  return sums.costNano;
}

/**
 * What closed months have become more (or less) since they were billed, as one sum, of which later closings have billed their part.
 * @param before leaves this month and later ones out
 * @returns since which month, and nano-USD; undefined where closed months are as they were billed
 */
export function correctionDue(connection: Connection, organization: string, before = '9999-12') {
  let [due, since] = [0n, ''];
  for (const { period, costNano, ...span } of readClosings(connection, organization)) {
    if (period >= before) break;
    if (due === 0n) since = period;
    due += costIn(connection, organization, span) - costNano;
  }
  return due === 0n ? undefined : { since, nano: due };
}
