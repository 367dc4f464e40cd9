/** All settings, as `modelgate serve --settings` lists them. */
import { type SettingName, describeSetting, SETTING_NAMES } from './settings.ts';

interface SettingReference {
  readonly name: SettingName;
  readonly default: string | null;
  readonly example: string;
  readonly meaning: string;
}

/** @returns every setting, in the order of the table in `config/README.md` */
export const settingReferences = (): readonly SettingReference[] =>
  SETTING_NAMES.map((name) => {
    const { fallback, example, meaning } = describeSetting(name);
    return { name, default: fallback ?? null, example, meaning: meaning.replaceAll('**', '') };
  });
