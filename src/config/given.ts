/**
 * What the operator has typed, from both places, before any of it is understood: defaults < file < environment.
 * An empty value is "not set", as Compose writes it for `${VARIABLE}` without a value.
 */
import type { ConfigIssue } from './issue.ts';
import type { Setting } from './setting.ts';
import { isSettingName, SETTING_NAMES, SETTINGS } from './settings.ts';
import type { SettingName } from './settings.ts';
import { suggest } from './suggestion.ts';
import { SERVICE_LINK } from './value.ts';

/** Names the YAML file; read by `load.ts` before anything else, so it has no place in the file itself. */
export const CONFIG_FILE_VARIABLE = 'MODELGATE_CONFIG';

/** Everything that a configuration is made of, handed in, so that parsing reads nothing itself. */
export interface RawConfig {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The YAML file, parsed with every scalar left as text. */
  readonly file?: { readonly name: string; readonly values: unknown };
  /** What relative paths start from. */
  readonly directory: string;
  /** @throws an error with a sentence as its message, where the file cannot be read */
  readonly readSecret: (path: string) => string;
}

/** One setting as it was typed. */
export interface Given {
  readonly text: string;
  /** `environment`, or the path of the YAML file. */
  readonly source: string;
}

export type GivenSettings = ReadonlyMap<SettingName, Given>;

/** @returns the text of each setting that is set, and an issue for each name that is not one */
export function collectGiven(raw: RawConfig): { given: GivenSettings; issues: ConfigIssue[] } {
  const given = new Map<SettingName, Given>();
  const issues: ConfigIssue[] = [];
  if (raw.file !== undefined) collectFile(raw.file.name, raw.file.values, given, issues);
  for (const [name, text] of Object.entries(raw.environment)) {
    if (text === undefined || text === '') continue;
    if (isSettingName(name)) given.set(name, { text, source: 'environment' });
    else if (/^modelgate_/i.test(name) && name !== CONFIG_FILE_VARIABLE) issues.push(unknownVariable(name));
  }
  return { given, issues };
}

/** Only its name is shown: nobody knows what a mistyped variable holds. */
function unknownVariable(name: string): ConfigIssue {
  const serviceLink = /^MODELGATE_(SERVICE_|PORT_\d)/.test(name);
  return {
    setting: name.slice(0, 100),
    source: 'environment',
    found: 'a setting that does not exist',
    expected: serviceLink ? `it to be absent: ${SERVICE_LINK}` : remedy(name),
  };
}

function remedy(name: string): string {
  const meant = suggest(name, [...SETTING_NAMES, CONFIG_FILE_VARIABLE]);
  return meant === undefined
    ? 'one of the names that `modelgate serve --settings` prints'
    : `a known name: did you mean ${meant}?`;
}

function collectFile(source: string, values: unknown, given: Map<SettingName, Given>, issues: ConfigIssue[]): void {
  if (values === null || values === undefined || values === '') return;
  if (typeof values !== 'object' || Array.isArray(values)) {
    issues.push({ setting: source, found: 'no mapping of names to values', expected: 'one `NAME: value` a line' });
    return;
  }
  for (const [name, value] of Object.entries(values)) {
    const issue = collectFileValue(source, name, value, given);
    if (issue !== undefined) issues.push(issue);
  }
}

function collectFileValue(
  source: string,
  name: string,
  value: unknown,
  given: Map<SettingName, Given>,
): ConfigIssue | undefined {
  const about = { setting: name.slice(0, 100), source };
  if (name === CONFIG_FILE_VARIABLE)
    return { ...about, found: 'a setting', expected: 'it to be set in the environment only' };
  if (!isSettingName(name)) return { ...about, found: 'a setting that does not exist', expected: remedy(name) };
  const { secret, example }: Setting<unknown> = SETTINGS[name];
  if (secret === true) {
    return {
      ...about,
      found: 'a secret in the file',
      expected: 'it in the environment, or in a file of its own that WEBUI_SECRET_KEY_FILE names',
    };
  }
  const text = textOf(value);
  if (text === undefined) {
    return {
      ...about,
      found: 'neither a value nor a list of values',
      expected: 'one value',
      example: `${name}: ${example}`,
    };
  }
  if (text !== '') given.set(name, { text, source });
  return undefined;
}

/** A list stands for its items separated by commas; an item with a comma would become two. */
function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const items: unknown[] = value;
  const isItem = (item: unknown): item is string => typeof item === 'string' && !item.includes(',');
  return items.every(isItem) ? items.join(',') : undefined;
}
