import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createMetrics } from '../../../src/telemetry/metrics.ts';

const README = new URL('../../../config/README.md', import.meta.url);

test('config/README.md explains every metric of the gate, and no other', async () => {
  const metrics = createMetrics({
    version: '1.0.0',
    mode: () => 'enforce',
    bypass: false,
    storeHealth: () => Promise.resolve({ readable: true, ageMs: 0, writeProblem: undefined }),
    storeFigures: () => ({ caches: [], errors: new Map(), writeErrors: [], role: 'file' as const }),
  });
  const { text } = await metrics.exposition();
  const exported = [...text.matchAll(/^# TYPE (modelgate_\w+) /gm)].map(([, name]) => name);
  const explained = [...readFileSync(README, 'utf8').matchAll(/^\| `(modelgate_\w+)` \| \S/gm)].map(([, name]) => name);
  expect(exported.length).toBeGreaterThan(25);
  expect(explained.toSorted()).toEqual(exported.toSorted());
});
