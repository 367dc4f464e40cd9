import { requireEngine } from './engine.ts';
import { prepareImages } from './images.ts';
import { removeAbandoned } from './stack.ts';

/** Vitest calls this once before the first test file: building takes longer than any test may. */
export async function setup(): Promise<void> {
  await requireEngine();
  await removeAbandoned();
  await prepareImages();
}
