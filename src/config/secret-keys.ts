/**
 * The key that session tokens are verified with: from exactly one of three settings. Nothing here shows a key.
 *
 * The backend's start script strips the newline at the end of the key file, its Python launcher does not
 * (Open WebUI 0.6.0 to 0.12.4), so a file gives two candidates; the launcher also reads CRLF as LF.
 */
import { resolve } from 'node:path';
import type { GivenSettings, RawConfig } from './given.ts';
import type { ConfigIssue } from './issue.ts';
import { SETTINGS } from './settings.ts';

const SOURCES = ['WEBUI_SECRET_KEY', 'WEBUI_SECRET_KEY_FILE', 'WEBUI_JWT_SECRET_KEY'] as const;

interface SecretKeys {
  readonly keys: readonly string[];
  readonly issues: readonly ConfigIssue[];
}

/** @returns the keys to try in order, without duplicates, or why there are none */
export function readSecretKeys(given: GivenSettings, raw: RawConfig): SecretKeys {
  const used = SOURCES.filter((name) => given.has(name));
  const [source] = used;
  if (source === undefined) {
    return refused(
      'WEBUI_SECRET_KEY',
      'nothing',
      SETTINGS.WEBUI_SECRET_KEY.expected,
      'WEBUI_SECRET_KEY_FILE=/run/secrets/webui_secret_key',
    );
  }
  if (used.length > 1)
    return refused(source, `${used.join(' and ')} together`, 'exactly one of them: the one that the backend uses');
  const text = given.get(source)?.text ?? '';
  if (source !== 'WEBUI_SECRET_KEY_FILE') return { keys: [text], issues: [] };
  return readKeyFile(resolve(raw.directory, text), raw.readSecret);
}

function readKeyFile(path: string, readSecret: RawConfig['readSecret']): SecretKeys {
  const { expected } = SETTINGS.WEBUI_SECRET_KEY_FILE;
  let content: string;
  try {
    content = readSecret(path);
  } catch (error) {
    return refused(
      'WEBUI_SECRET_KEY_FILE',
      error instanceof Error ? error.message : 'a file that cannot be read',
      expected,
    );
  }
  const stripped = content.replace(/[\r\n]+$/, '');
  if (stripped === '') return refused('WEBUI_SECRET_KEY_FILE', `${JSON.stringify(path)}, which is empty`, expected);
  return { keys: [...new Set([stripped, content.replaceAll('\r\n', '\n'), content])], issues: [] };
}

function refused(setting: string, found: string, expected: string, example?: string): SecretKeys {
  return { keys: [], issues: [{ setting, found, expected, ...(example === undefined ? {} : { example }) }] };
}
