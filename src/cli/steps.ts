/** What commands on the whole file show while they work, and how they speak of paths and times. */
import type { OnStep, Step } from '../operations/copies/verified-copy.ts';
import { printable } from './output.ts';
import { createProgress } from './progress.ts';
import type { Progress } from './progress.ts';
import type { Terminal } from './terminal.ts';

export interface StepProgress {
  readonly onStep: OnStep;
  end(): void;
}

const LABELS: Record<Step, string> = {
  copy: 'copying',
  check: 'checking',
  compress: 'compressing',
  verify: 'comparing',
  decompress: 'unpacking',
};

const MEGABYTE = 1024 * 1024;

/** One bar for each step, in megabytes. */
export function createStepProgress(terminal: Terminal): StepProgress {
  let current: Step | undefined;
  let progress: Progress | undefined;
  return {
    onStep(step, done, total) {
      if (step !== current) {
        progress?.end();
        progress = createProgress(terminal, LABELS[step], 'MB', 'MB');
        current = step;
      }
      progress?.at(Math.round(done / MEGABYTE), Math.ceil(total / MEGABYTE));
    },
    end: () => progress?.end(),
  };
}

/** As `asRows`, for values that must be seen whole, such as paths. */
export function asLines(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(value, false)}`.trimEnd() + '\n').join('');
}

/** `24.1 s` */
export const inSeconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;

/** `30 d`, `12 h`: the largest unit that divides it. */
export function inWords(milliseconds: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const;
  const [unit, scale] = units.find(([, size]) => milliseconds >= size && milliseconds % size === 0) ?? ['ms', 1];
  return `${milliseconds / scale} ${unit}`;
}
