import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { installOpenWebui } from './install.ts';
import type { Release } from './release.ts';

/** The keys that each place reads, by `FILE:PLACE`; what a place is, and what reading, says `model_places.py`. */
export type FoundPlaces = ReadonlyMap<string, readonly string[]>;

const execute = promisify(execFile);

/**
 * From where an installed release takes a model. Takes some seconds: all of the package is parsed.
 *
 * @param folder to read instead of the installed package
 */
export async function findModelPlaces(release: Release, folder?: string): Promise<FoundPlaces> {
  const { python } = await installOpenWebui(release);
  const script = fileURLToPath(new URL('model_places.py', import.meta.url));
  const { stdout } = await execute(python, folder === undefined ? [script] : [script, folder], {
    timeout: 120_000,
    maxBuffer: 16_000_000,
  });
  const files = JSON.parse(stdout) as Record<string, Record<string, string[]>>;
  return new Map(
    Object.entries(files).flatMap(([file, places]) =>
      Object.entries(places).map(([place, keys]) => [`${file}:${place}`, keys] as const),
    ),
  );
}
