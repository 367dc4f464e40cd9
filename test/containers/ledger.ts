/** What the ledger of a running stack holds, read where it lies: in the container of the gate. */
import type { Stack } from './stack.ts';

export const USAGE_FILE = '/var/lib/modelgate/usage.db';

interface StoredCall {
  readonly state: string;
  readonly organization_id: string;
  readonly user_id: string;
  readonly model: string;
  readonly measured: string | null;
  readonly input: number | null;
  readonly output: number | null;
}

/** @returns every call, oldest first */
export async function readCalls(stack: Stack): Promise<readonly StoredCall[]> {
  const rows = 'SELECT state, organization_id, user_id, model, measured, input, output FROM usage_request ORDER BY id';
  const script = `JSON.stringify(require('better-sqlite3')('${USAGE_FILE}').prepare('${rows}').all())`;
  return JSON.parse(await stack.exec('modelgate', 'node', '--print', script)) as readonly StoredCall[];
}

/** @returns this month's sums, as an operator asks for them */
export async function readUsage(stack: Stack): Promise<{ readonly requests: number; readonly output: number }> {
  const shown = await stack.exec('modelgate', 'modelgate', 'usage', '--by', 'model', '--json');
  return (JSON.parse(shown) as { total: { requests: number; output: number } }).total;
}
