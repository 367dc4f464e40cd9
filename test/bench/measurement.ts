/** What a topic of the bench comes to: rows of the table, and numbers for the JSON file. */

export interface Row {
  readonly what: string;
  readonly figure: string;
  readonly budget: string;
  readonly state: 'pass' | 'miss' | 'skipped' | 'for comparison';
  /** The numbers behind the figure, by name and unit. */
  readonly numbers: Readonly<Record<string, number | readonly number[]>>;
}

/** One group of budgets that is measured together; its name is what `--only` takes. */
export interface Topic {
  readonly name: string;
  /** Programs that must be installed. */
  readonly needs: readonly Tool[];
  readonly measure: (scale: Scale) => Promise<Row[]>;
}

export type Tool = 'nginx' | 'wrk' | 'taskset';

/** How long to measure: `quick` to see that it works, `full` for memory over a million requests. */
export type Scale = 'quick' | 'default' | 'full';

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** @param share 0.5 for the median; nearest rank */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));

/** `0.83 (0.81–0.86)`: the median, and between which values the rounds lay. */
export function withRange(values: readonly number[], digits = 2): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
}

export const judged = (isKept: boolean): 'pass' | 'miss' => (isKept ? 'pass' : 'miss');

export function formatTable(rows: readonly Row[]): string {
  const cells = [['what', 'figure', 'budget', ''], ...rows.map((row) => [row.what, row.figure, row.budget, row.state])];
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
