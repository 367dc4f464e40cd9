/** Moments in file names, as the deployment guide's `date +%Y%m%d_%H%M%S` writes them: local time. */

/** @returns such as `20260131_030000` */
export function toMoment(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}_${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}

/** @returns undefined for digits that are no moment, such as a thirteenth month */
export function parseMoment(text: string): Date | undefined {
  const [, year, month, day, hours, minutes, seconds] =
    /^(\d{4})(\d{2})(\d{2})_(\d{2})(\d{2})(\d{2})$/.exec(text)?.map(Number) ?? [];
  if (year === undefined || month === undefined) return undefined;
  const date = new Date(year, month - 1, day, hours, minutes, seconds);
  // an hour that a clock change skips is still a moment; a thirteenth month is none
  return date.getMonth() === month - 1 && date.getDate() === day ? date : undefined;
}

/** A name for the first, second, … attempt: `-2` goes behind the moment. */
export const numbered = (text: string, attempt: number): string => (attempt === 1 ? text : `${text}-${attempt}`);
