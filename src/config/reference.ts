/** The README's table of settings, made from the same list that parsing uses; a test compares the two. */
import type { Setting } from './settings.ts';
import { SETTING_NAMES, SETTINGS } from './settings.ts';

/** What stands around the table in the README. */
export const REFERENCE_MARKERS = { start: '<!-- configuration:start -->', end: '<!-- configuration:end -->' } as const;

/** @returns the Markdown table, ending in a newline */
export function configurationReference(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { fallback, meaning, example, secret }: Setting<unknown> = SETTINGS[name];
    const shown = fallback === undefined ? (secret === true ? '' : `e.g. ${code(example)}`) : code(fallback);
    return `| ${code(name)} | ${shown} | ${meaning} |`;
  });
  return ['| Setting | Default | Meaning |', '|---|---|---|', ...rows, ''].join('\n');
}

const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;
