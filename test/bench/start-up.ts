/** From the start of the process to the first `ready`, on a database that has been initialized. */
import { bed } from './bed.ts';
import { startGate } from './contenders.ts';
import { judged, median, rounded, withRange, type Row, type Scale } from './measurement.ts';

export async function measureStartUp(scale: Scale): Promise<Row[]> {
  const { backend, database } = await bed();
  // the first start makes what is missing
  await (await startGate(backend.url, database.path)).stop();
  const times: number[] = [];
  for (let start = 0; start < (scale === 'quick' ? 3 : 7); start += 1) {
    const startedAt = performance.now();
    const gate = await startGate(backend.url, database.path);
    times.push((performance.now() - startedAt) / 1_000);
    await gate.stop();
  }
  return [
    {
      what: 'start to ready, initialized database',
      figure: `${withRange(times)} s`,
      budget: '< 1 s',
      state: judged(median(times) < 1),
      numbers: { seconds: times.map((time) => rounded(time, 3)) },
    },
  ];
}
