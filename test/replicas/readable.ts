import type { ServingProcess } from '../support/gate/gate-process.ts';
import { until } from '../support/process/with-timeout.ts';

/** On a busy machine a gate may not reach its database when it starts; it goes on trying. @returns it, when it reads it */
export async function whenReadable<Gate extends ServingProcess>(gate: Gate): Promise<Gate> {
  const isReadable = async (): Promise<boolean> => {
    const answer = await fetch(`${gate.adminUrl}/readyz`);
    return ((await answer.json()) as { database: { readable: boolean } }).database.readable;
  };
  await until(isReadable, 15_000, 'the gate reads its database');
  return gate;
}
