/** What commands on the whole file show while they work. */
import type { OnStep, Step } from '../../operations/copies/verified-copy.ts';
import type { Progress } from '../progress.ts';
import { createProgress } from '../progress.ts';
import type { Terminal } from '../terminal.ts';

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
