import type { PinnedProcess } from './pinned-process.ts';

/**
 * A, B, C, A, B, C, …: what else the machine does then falls on all of them alike, and a ratio is made within a round.
 */
export async function inRounds<N extends string, P extends PinnedProcess, F>(
  contenders: Readonly<Record<N, P>>,
  rounds: number,
  measure: (contender: P) => Promise<F>,
): Promise<Record<N, F>[]> {
  const measured: Record<N, F>[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const figures: Partial<Record<N, F>> = {};
    for (const name of Object.keys(contenders) as N[]) figures[name] = await measure(contenders[name]);
    measured.push(figures as Record<N, F>);
  }
  return measured;
}
