/**
 * Whether the file can be read where requests read it. A look (`freshness.ts`) sees its header and the counters alone,
 * so that a damaged page behind them would be met by every request and seen by nobody who asks how things are.
 */
import type { Damage } from './freshness.ts';
import type { ThreadedFile } from './threaded-file.ts';

export interface SoundnessOptions {
  readonly file: ThreadedFile;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
}

const PROBE_EVERY_MS = 1_000;
/** A page that only some requests have met is told for as long. */
const TOLD_MS = 60_000;

export class Soundness {
  /** Why no request could read what it needs, whatever the looks say; undefined while one can. */
  problem: string | undefined;
  /** When a request could last read what it needs, in milliseconds of `now`. */
  soundAt: number;
  readonly #options: SoundnessOptions;
  #probedAt = Number.NEGATIVE_INFINITY;
  #part: Damage | undefined;

  constructor(options: SoundnessOptions) {
    this.#options = options;
    this.soundAt = options.now();
  }

  /** Reads as a request does, at most once a second. To be called after a look, and needs none where that has failed. */
  async probe(): Promise<void> {
    const { file, now, warn } = this.#options;
    const moment = now();
    if (file.problem !== undefined || moment - this.#probedAt < PROBE_EVERY_MS) return;
    this.#probedAt = moment;
    const met = file.damage;
    file.forget('probe');
    await file.load([{ name: 'probe', args: [] }]);
    if (file.read('probe') !== undefined) {
      this.problem = undefined;
      this.soundAt = moment;
      if (met !== undefined) {
        const { problem } = met;
        if (this.partialProblem() === undefined) warn('a part of the policy database cannot be read', { problem });
        this.#part = met;
      }
    } else if (!file.isLocked) this.problem = file.problem;
    file.damage = undefined;
  }

  /** What some requests have met lately. */
  partialProblem(): string | undefined {
    if (this.#part === undefined || this.#options.now() - this.#part.metAt > TOLD_MS) return undefined;
    return `a part of the database cannot be read: ${this.#part.problem}`;
  }
}
