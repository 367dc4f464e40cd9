import { vi } from 'vitest';
import { benchQueries } from '../../../src/diagnosis/query-bench.ts';
import { createHealthyDatabase } from './diagnosis.ts';
import { type TestOperation, operationOn } from './operation.ts';

/** As the command measures, with as few turns as a test wants. */
export const measureIn = (operation: TestOperation, iterations: number, onProgress: (done: number) => void) =>
  benchQueries({
    operation,
    chosen: { user: undefined, organization: undefined },
    iterations,
    policy: { adminAccess: 'organization' },
    onProgress,
  });

/** What is made of measurements: the queries in their order take these times, each as many as there are turns. */
export async function distributionsOf(times: readonly (readonly number[])[]) {
  using database = createHealthyDatabase();
  const at = { query: 0, asked: 0 };
  // each turn asks before and after it
  const clock = vi
    .spyOn(performance, 'now')
    .mockImplementation(() => (at.asked++ % 2 === 0 ? 0 : (times[at.query]?.[at.asked / 2 - 1] ?? 0)));
  try {
    const begin = (query: number) => void Object.assign(at, { query, asked: 0 });
    const { queries } = await measureIn(operationOn(database.path), times[0]?.length ?? 0, begin);
    return queries.slice(0, times.length);
  } finally {
    clock.mockRestore();
  }
}
