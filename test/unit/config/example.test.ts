import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../../src/config/parse.ts';
import { describeSetting, SETTING_NAMES } from '../../../src/config/settings.ts';
import { REDIS_SETTINGS } from '../../../src/config/redis-settings.ts';
import { USAGE_SETTINGS } from '../../../src/config/usage-settings.ts';
import { exampleFile } from '../../support/gate/settings-documents.ts';

const FILE = new URL('../../../config/modelgate.example.yaml', import.meta.url);

const parsed = (text: string) =>
  parseConfig({
    environment: {},
    file: { name: 'example', values: parse(text, { schema: 'failsafe' }) as unknown },
    directory: '/srv',
    readSecret: () => 'key',
  });

describe('the example file', () => {
  test('is what the list of settings makes of it', () => {
    expect(readFileSync(FILE, 'utf8')).toBe(exampleFile());
  });

  test('works as it stands', () => expect(parsed(exampleFile()).issues).toBeUndefined());

  test('works with every default written out, and means the same', () => {
    // but for what means something only beside another setting
    const written = SETTING_NAMES.filter(
      (name) =>
        describeSetting(name).fallback !== undefined &&
        name !== 'MODELGATE_AUTO_ENROLL' &&
        !name.startsWith('MODELGATE_PROVIDER') &&
        !Object.hasOwn({ ...USAGE_SETTINGS, ...REDIS_SETTINGS }, name),
    );
    const uncommented = exampleFile().replace(new RegExp(`^#(?=(?:${written.join('|')}): )`, 'gm'), '');
    expect(uncommented.match(/^[A-Z_]+: /gm)).toHaveLength(written.length + 3);
    expect(parsed(uncommented)).toEqual(parsed(exampleFile()));
  });
});
