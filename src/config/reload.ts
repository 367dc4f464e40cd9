/** A configuration that is read again under a running gate: what of it can be in force at once, and what cannot. */
import { isDeepStrictEqual } from 'node:util';
import { HEADER_SETTINGS } from './header-settings.ts';
import { LIMIT_SETTINGS } from './limit-settings.ts';
import type { Loaded } from './parse.ts';
import type { Config } from './schema.ts';
import { SETTING_NAMES, type SettingName } from './settings.ts';

/** All other settings hold a port, a file, a key or a connection. */
const LIVE: ReadonlySet<string> = new Set([
  ...([
    'MODELGATE_MODE',
    'MODELGATE_DENIAL',
    'MODELGATE_ADMIN_ACCESS',
    'MODELGATE_DIRECT_CONNECTIONS',
    'MODELGATE_MEDIA_MODELS',
    'MODELGATE_TRUSTED_PROXIES',
    'LOG_LEVEL',
    'SRC_LOG_LEVELS_MODELS',
  ] satisfies SettingName[]),
  ...Object.keys(LIMIT_SETTINGS),
  ...Object.keys(HEADER_SETTINGS),
]);

interface Reloaded {
  /** What is in force now. */
  readonly loaded: Loaded<Config>;
  /** The settings that differ from before and are in force. */
  readonly changed: readonly SettingName[];
  /** Those that differ and are as before until the gate is started again. */
  readonly waiting: readonly SettingName[];
}

/** @param running what is in force @param read what was read again */
export function reload(running: Loaded<Config>, read: Loaded<Config>): Reloaded {
  const before = running.config;
  const { mode, denial, adminAccess, directConnections, mediaModels } = read.config.policy;
  const { answers, limits, trustedProxies, logLevel, modelLogLevel } = read.config;
  const policy = { ...before.policy, mode, denial, adminAccess, directConnections, mediaModels };
  const config = { ...before, policy, answers, limits, trustedProxies, logLevel, modelLogLevel };
  const differing = SETTING_NAMES.filter((name) => !isDeepStrictEqual(running.values[name], read.values[name]));
  const changed = differing.filter((name) => LIVE.has(name));
  const waiting = differing.filter((name) => !LIVE.has(name));
  const taken = Object.fromEntries(changed.map((name) => [name, read.values[name]]));
  // the name of the file may be the same, and the key in it another
  const isKeyChanged = !isDeepStrictEqual(before.identity.secretKeys, read.config.identity.secretKeys);
  if (isKeyChanged && !waiting.some((name) => name.includes('SECRET_KEY'))) waiting.push('WEBUI_SECRET_KEY_FILE');
  return { loaded: { config, values: { ...running.values, ...taken } }, changed, waiting };
}
