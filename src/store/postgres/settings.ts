/** The backend's settings as a part of a check: sent only where they have changed. */
import { isObject, tryParseJson } from '../../references/json.ts';
import { type Setting, SETTINGS, compositesOf, connectionPrefixesOf } from '../models.ts';
import { PROVIDER_SETTINGS, providerSettingsOf } from '../provider-settings.ts';
import type { Layout } from './layout.ts';
import { rowVersion } from './parts.ts';

/** Each is computed of the settings alone. */
export const SETTLED = {
  composites: compositesOf,
  connectionPrefixes: connectionPrefixesOf,
  providerSettings: providerSettingsOf,
} as const;

const KEYS = [...new Set([...SETTINGS, ...PROVIDER_SETTINGS])];
const LIST = KEYS.map((key) => `'${key}'`).join(', ');

/**
 * @param known the place of the version that is known
 * @returns SQL for the version and, where it is another, the settings: one row a key (from 0.10.0), or one document
 */
export function settingsSql({ at, has }: Layout, known: string): string {
  const sent = (value: string) => `CASE WHEN f.version = ${known} THEN NULL ELSE ${value} END`;
  if (has('config', 'key', 'value')) {
    const from = `FROM ${at('config')} c WHERE c."key" IN (${LIST})`;
    return `SELECT json_build_array(f.version, ${sent(`(SELECT json_object_agg(c."key", c.value::text) ${from})`)})
      FROM (SELECT md5(coalesce(string_agg(c."key" || ${rowVersion('c')}, ' ' ORDER BY c."key"), '')) AS version ${from}) f`;
  }
  if (!has('config', 'id', 'data')) return `SELECT json_build_array('none', NULL)`;
  return `SELECT json_build_array(f.version, ${sent('f.data::text')})
    FROM (SELECT ${rowVersion('c')} AS version, c.data FROM ${at('config')} c ORDER BY c.id DESC LIMIT 1) f`;
}

/** @param sent what the part gives: texts by key, the text of one document, or null where there are none */
export function toSetting(sent: unknown): Setting {
  if (typeof sent !== 'string') {
    return (key) => {
      const text = isObject(sent) && Object.hasOwn(sent, key) ? sent[key] : undefined;
      return typeof text === 'string' ? tryParseJson(text) : undefined;
    };
  }
  const document = tryParseJson(sent);
  const member = (value: unknown, key: string): unknown =>
    isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return (key) => key.split('.').reduce(member, document);
}
