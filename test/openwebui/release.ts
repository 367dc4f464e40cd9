import { readFileSync } from 'node:fs';

/** The pinned Open WebUI releases: the newest, and the line that mAI is forked from. */
export const RELEASES = ['0.12.4', '0.6.18'] as const;

export type Release = (typeof RELEASES)[number];

/** The file that pins everything a release is installed with. */
export function requirementsFile(release: Release): URL {
  return new URL(`requirements-${release}.txt`, import.meta.url);
}

/** The pins themselves; part of the name of the virtual environment, so that a changed pin makes a new one. */
export function requirementsText(release: Release): string {
  return readFileSync(requirementsFile(release), 'utf8');
}
