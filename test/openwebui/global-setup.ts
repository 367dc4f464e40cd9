import { installOpenWebui } from './install.ts';
import { RELEASES } from './release.ts';

/** Vitest calls this once before the first test file: installing takes longer than any test may. */
export async function setup(): Promise<void> {
  for (const release of RELEASES) await installOpenWebui(release);
}
