/** What one call to a provider has used, in the same form whatever the provider calls it. Pure. */

/** What ran the model. Best effort, for reports alone. */
export type Kind = 'chat' | 'task' | 'background' | 'channel' | 'embedding' | 'media' | 'service';

/**
 * Where the figures come from: the provider, with the answer or asked later by its generation id; an estimate for a whole
 * answer without usage; an estimate for a call that was cut; or nothing that is counted.
 */
export type Measured = 'reported' | 'reconciled' | 'estimated' | 'interrupted' | 'none';

/** `input` holds its cached and its cache-writing part, `output` its reasoning. Tokens; money is in nano-USD, an integer. */
export interface Usage {
  readonly input?: number | undefined;
  readonly inputCached?: number | undefined;
  readonly inputCacheWrite?: number | undefined;
  readonly output?: number | undefined;
  readonly outputReasoning?: number | undefined;
  /** As the provider has charged it. */
  readonly costNano?: number | undefined;
  /** What is not counted in tokens: pictures, characters, seconds. */
  readonly units?: number | undefined;
  readonly unit?: 'pictures' | 'characters' | 'seconds' | undefined;
}

export const NANO = 1_000_000_000;
