/** The table of settings in `config/README.md`, made from the same list that parsing uses; a test compares the two. */
import type { Setting } from './setting.ts';
import type { SettingName } from './settings.ts';
import { SETTING_NAMES, SETTINGS } from './settings.ts';

/** What stands around the table. */
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

/** One setting, for whoever has no README at hand. */
export interface SettingReference {
  readonly name: SettingName;
  readonly default: string | null;
  readonly example: string;
  readonly meaning: string;
}

/** @returns every setting, in the README's order */
export const settingReferences = (): readonly SettingReference[] =>
  SETTING_NAMES.map((name) => {
    const { fallback, example, meaning }: Setting<unknown> = SETTINGS[name];
    return { name, default: fallback ?? null, example, meaning: meaning.replaceAll('**', '') };
  });

const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

const LINE_LENGTH = 100;

/**
 * @returns a commented YAML file with every setting that may stand in one, ending in a newline. What is required is
 *   set, everything else shows its default.
 */
export function configurationExample(): string {
  const entries = SETTING_NAMES.filter((name) => !('secret' in SETTINGS[name])).map((name) => {
    const { fallback, meaning, example }: Setting<unknown> = SETTINGS[name];
    const comment = wrapped(meaning.replaceAll('**', '')).map((line) => `# ${line}`);
    return [...comment, `${IN_EXAMPLE.has(name) ? '' : '#'}${name}: ${scalar(fallback ?? example)}`, ''].join('\n');
  });
  return [...HEAD, '', ...entries].join('\n');
}

/** In YAML a `*` at the start would be an alias. */
const scalar = (text: string): string => (text.startsWith('*') ? `'${text}'` : text);

/** What a gate cannot do without; the key stands in a file of its own. */
const IN_EXAMPLE: ReadonlySet<SettingName> = new Set([
  'MODELGATE_UPSTREAM_URL',
  'DATABASE_URL',
  'WEBUI_SECRET_KEY_FILE',
]);

const HEAD = [
  '# Settings of modelgate: `modelgate serve --config FILE`, or MODELGATE_CONFIG=FILE.',
  '# A variable of the same name in the environment wins. `modelgate serve --check-config` tells every mistake.',
];

function wrapped(text: string): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + word.length >= LINE_LENGTH) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}
