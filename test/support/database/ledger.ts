/** A ledger of its own for each test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openUsageFile } from '../../../src/usage/schema.ts';

/** An empty `usage.db` in a folder that goes with the test, and a connection to it. */
export function ledgerOfTest() {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-ledger-'));
  const path = join(directory, 'usage.db');
  const connection = openUsageFile(path, 1_000);
  onTestFinished(() => {
    connection.close();
    rmSync(directory, { recursive: true });
  });
  return { directory, path, connection };
}
