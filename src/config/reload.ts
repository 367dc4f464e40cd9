/** A configuration that is read again under a running gate: what of it can be in force at once, and what cannot. */
import { isDeepStrictEqual } from 'node:util';
import { HEADER_SETTINGS } from './header-settings.ts';
import { LIMIT_SETTINGS } from './limit-settings.ts';
import type { Loaded } from './parse.ts';
import { type Config, toConfig } from './schema.ts';
import { type SettingName, SETTING_NAMES } from './settings.ts';

/** All other settings hold a port, a file, a key or a connection. */
const LIVE: readonly string[] = [
  ...(['MODELGATE_MODE', 'MODELGATE_DENIAL', 'MODELGATE_ADMIN_ACCESS'] satisfies SettingName[]),
  ...(['MODELGATE_DIRECT_CONNECTIONS', 'MODELGATE_MEDIA_MODELS', 'MODELGATE_TRUSTED_PROXIES'] satisfies SettingName[]),
  ...(['LOG_LEVEL', 'SRC_LOG_LEVELS_MODELS'] satisfies SettingName[]),
  ...Object.keys(LIMIT_SETTINGS),
  ...Object.keys(HEADER_SETTINGS),
];

/** @returns what is in force now, the settings that have changed, and those that wait until the gate is started again */
export function reload(running: Loaded<Config>, read: Loaded<Config>) {
  const differing = SETTING_NAMES.filter((name) => !isDeepStrictEqual(running.values[name], read.values[name]));
  const changed = differing.filter((name) => LIVE.includes(name));
  const waiting = differing.filter((name) => !LIVE.includes(name));
  const taken = Object.fromEntries(changed.map((name) => [name, read.values[name]]));
  const values = { ...running.values, ...taken };
  const { database, upstream, identity } = running.config;
  const config = toConfig(values, database.path, upstream.url, identity.secretKeys);
  // the name of the file may be the same, and the key in it another
  const isKeyChanged = !isDeepStrictEqual(identity.secretKeys, read.config.identity.secretKeys);
  if (isKeyChanged && !waiting.some((name) => name.includes('SECRET_KEY'))) waiting.push('WEBUI_SECRET_KEY_FILE');
  return { loaded: { config, values }, changed, waiting };
}
