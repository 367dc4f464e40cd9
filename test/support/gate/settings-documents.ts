/** What `config/` shows of the settings, made from the list that parsing uses; tests compare the two. */
import { type SettingName, describeSetting, SETTING_NAMES } from '../../../src/config/settings.ts';

/** What encloses the table in `config/README.md`. */
export const TABLE_MARKERS = { start: '<!-- configuration:start -->', end: '<!-- configuration:end -->' } as const;

/** @returns the Markdown table, ending in a newline */
export function settingsTable(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { fallback, meaning, example, secret } = describeSetting(name);
    const shown = fallback === undefined ? (secret ? '' : `e.g. ${code(example)}`) : code(fallback);
    return `| ${code(name)} | ${shown} | ${meaning} |`;
  });
  return ['| Setting | Default | Meaning |', '|---|---|---|', ...rows, ''].join('\n');
}

const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

const LINE_LENGTH = 100;

/**
 * @returns a commented YAML file with every setting that may be in one, ending in a newline. What is required is set,
 *   everything else shows its default.
 */
export function exampleFile(): string {
  const entries = SETTING_NAMES.filter((name) => !describeSetting(name).secret).map((name) => {
    const { fallback, meaning, example } = describeSetting(name);
    const comment = wrapped(meaning.replaceAll('**', '')).map((line) => `# ${line}`);
    return [...comment, `${REQUIRED.has(name) ? '' : '#'}${name}: ${scalar(fallback ?? example)}`, ''].join('\n');
  });
  return [...HEAD, '', ...entries].join('\n');
}

/** In YAML a `*` at the start would be an alias. */
const scalar = (text: string): string => (text.startsWith('*') ? `'${text}'` : text);

/** What a gate needs; the key is in a file of its own. */
const REQUIRED: ReadonlySet<SettingName> = new Set(['MODELGATE_UPSTREAM_URL', 'DATABASE_URL', 'WEBUI_SECRET_KEY_FILE']);

const HEAD = [
  '# Settings of modelgate: `modelgate serve --config FILE`, or MODELGATE_CONFIG=FILE.',
  '# A variable of the same name in the environment wins. `modelgate serve --check-config` names every mistake.',
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
