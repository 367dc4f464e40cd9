/** Months and days as people type them, in a time zone: `2026-11`, `2026-11-30`. Pure. */
import { type Period, periodOf } from '../policy/period.ts';
import type { Span } from './slots.ts';

/** @returns undefined for what is no month */
export const monthSpan = (month: string, timeZone: string): Span | undefined =>
  /^\d{4}-\d\d$/.test(month) ? spanFrom('month', `${month}-01`, timeZone) : undefined;

/** @returns undefined for what is no day */
export const daySpan = (day: string, timeZone: string): Span | undefined =>
  /^\d{4}-\d\d-\d\d$/.test(day) ? spanFrom('day', day, timeZone) : undefined;

function spanFrom(period: Period, firstDay: string, timeZone: string): Span | undefined {
  try {
    const date = Temporal.PlainDate.from(firstDay, { overflow: 'reject' });
    return spanAround(period, timeZone, date.toZonedDateTime(timeZone).epochMilliseconds);
  } catch (error) {
    // a thirteenth month, a thirtieth of February
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

export function spanAround(period: Period, timeZone: string, at: number): Span {
  const { start: from, end: to } = periodOf(period, timeZone, at);
  return { from, to };
}

/** @param span begins with a day @returns each day, such as `2026-11-30`, with its time */
export function* daysIn({ from, to }: Span, timeZone: string): Generator<readonly [day: string, span: Span]> {
  for (let at = from; at < to;) {
    const span = spanAround('day', timeZone, at);
    yield [dayAt(at, timeZone), span];
    at = span.to;
  }
}

const dayAt = (at: number, timeZone: string): string =>
  Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(timeZone).toPlainDate().toString();
