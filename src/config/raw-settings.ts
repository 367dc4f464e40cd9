/**
 * What the operator typed in both places, before any of it is read: defaults < file < environment.
 * An empty value means "not set": Compose writes it for `${VARIABLE}` without a value.
 */
import { nearest } from '../nearest.ts';
import type { ConfigIssue } from './issue.ts';
import { type SettingName, describeSetting, isSettingName, SETTING_NAMES } from './settings.ts';
import { SERVICE_LINK } from './value.ts';

/** Names the YAML file. `load.ts` reads it before anything else, so it has no place in the file itself. */
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
interface RawSetting {
  readonly text: string;
  /** `environment`, or the path of the YAML file. */
  readonly source: string;
}

export type RawSettings = ReadonlyMap<SettingName, RawSetting>;

/** @returns the text of each setting that is set, and an issue for each name or value of the file that is wrong */
export function collectRawSettings(raw: RawConfig): { settings: RawSettings; issues: ConfigIssue[] } {
  const settings = new Map<SettingName, RawSetting>();
  const issues: ConfigIssue[] = [];
  if (raw.file !== undefined) collectFile(raw.file.name, raw.file.values, settings, issues);
  for (const [name, text] of Object.entries(raw.environment)) {
    if (text === undefined || text === '') continue;
    if (isSettingName(name)) settings.set(name, { text, source: 'environment' });
    else if (/^modelgate_/i.test(name) && name !== CONFIG_FILE_VARIABLE) issues.push(unknownVariable(name));
  }
  return { settings, issues };
}

/** Shows the name alone: a mistyped variable may hold a secret. */
function unknownVariable(name: string): ConfigIssue {
  const isServiceLink = /^MODELGATE_(SERVICE_|PORT_\d)/.test(name);
  return {
    ...unknownSetting(name, 'environment'),
    ...(isServiceLink && { expected: `it to be absent: ${SERVICE_LINK}` }),
  };
}

function unknownSetting(name: string, source: string): ConfigIssue {
  const meant = suggest(name, [...SETTING_NAMES, CONFIG_FILE_VARIABLE]);
  return {
    setting: name.slice(0, 100),
    source,
    found: 'a setting that does not exist',
    expected:
      meant === undefined
        ? 'one of the names that `modelgate serve --settings` prints'
        : `a known name: did you mean ${meant}?`,
  };
}

/** @returns the known name that a mistyped one most likely means, undefined where none is close enough */
function suggest(name: string, known: readonly string[]): string | undefined {
  const wanted = letters(name);
  const containing = known.find((other) => wanted.length >= 4 && `_${letters(other)}_`.includes(`_${wanted}_`));
  const closest = nearest(wanted, known.map(letters));
  return known.find((other) => letters(other) === closest) ?? containing;
}

/** Without the common prefix, which many names of the backend's own lack. */
const letters = (name: string): string =>
  name
    .toUpperCase()
    .replaceAll('-', '_')
    .replace(/^MODELGATE_/, '');

function collectFile(
  source: string,
  values: unknown,
  settings: Map<SettingName, RawSetting>,
  issues: ConfigIssue[],
): void {
  if (values === null || values === undefined || values === '') return;
  if (typeof values !== 'object' || Array.isArray(values)) {
    issues.push({ setting: source, found: 'no mapping of names to values', expected: 'one `NAME: value` a line' });
    return;
  }
  for (const [name, value] of Object.entries(values)) {
    const read = readFileValue(source, name, value);
    if (typeof read !== 'string') issues.push(read);
    else if (read !== '' && isSettingName(name)) settings.set(name, { text: read, source });
  }
}

/** @returns the text of the setting, empty where it is not set, or what is wrong */
function readFileValue(source: string, name: string, value: unknown): string | ConfigIssue {
  if (name === CONFIG_FILE_VARIABLE)
    return { setting: name, source, found: 'a setting', expected: 'it to be set in the environment only' };
  if (!isSettingName(name)) return unknownSetting(name, source);
  const { secret, example } = describeSetting(name);
  if (secret === true) {
    return {
      setting: name,
      source,
      found: 'a secret in the file',
      expected: 'it in the environment, or in a file of its own that WEBUI_SECRET_KEY_FILE names',
    };
  }
  return (
    textOf(value) ?? {
      setting: name,
      source,
      found: 'neither a value nor a list of values',
      expected: 'one value',
      example: `${name}: ${example}`,
    }
  );
}

/** A list means its items separated by commas; an item with a comma would become two. */
function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const items: unknown[] = value;
  const isItem = (item: unknown): item is string => typeof item === 'string' && !item.includes(',');
  return items.every(isItem) ? items.join(',') : undefined;
}
