import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { configurationReference, REFERENCE_MARKERS } from '../../../src/config/reference.ts';
import type { Setting } from '../../../src/config/setting.ts';
import { isSettingName, SETTING_NAMES, SETTINGS } from '../../../src/config/settings.ts';

describe('the list of settings', () => {
  for (const name of SETTING_NAMES) {
    const { schema, fallback, example, expected, meaning, secret }: Setting<unknown> = SETTINGS[name];

    test(`${name} accepts its own default and its own example`, () => {
      if (fallback !== undefined) expect(schema.safeParse(fallback)).toMatchObject({ success: true });
      if (secret !== true) expect(schema.safeParse(example)).toMatchObject({ success: true });
    });

    test(`${name} is described in one line`, () => {
      expect(expected).toMatch(/^\S[^\n]*\S$/);
      expect(meaning).toMatch(/^\S[^\n]*[.]?[^\n]*\S$/);
    });
  }

  test('names of objects in general are no settings', () => {
    expect(isSettingName('constructor')).toBe(false);
    expect(isSettingName('MODELGATE_PORT')).toBe(true);
  });
});

describe('the reference', () => {
  const rows = configurationReference().trimEnd().split('\n');

  test('has one row for each setting, in order, under a head', () => {
    expect(rows.slice(2).map((row) => /^\| `(\w+)`/.exec(row)?.[1])).toEqual(SETTING_NAMES);
  });

  test('has three columns in every row', () => {
    for (const row of rows) expect(row.match(/(?<!\\)\|/g)).toHaveLength(4);
  });

  test('shows defaults as they are typed, and no example of a secret', () => {
    expect(rows.find((row) => row.includes('`MODELGATE_PORT`'))).toContain('| `8080` |');
    expect(rows.find((row) => row.startsWith('| `WEBUI_SECRET_KEY`'))).toContain('|  |');
  });

  const readme = new URL('../../../config/README.md', import.meta.url);
  test('is what config/README.md shows between its markers', () => {
    const [, behind = ''] = readFileSync(readme, 'utf8').split(REFERENCE_MARKERS.start);
    const [shown = ''] = behind.split(REFERENCE_MARKERS.end);
    expect(shown.trim()).toBe(configurationReference().trim());
  });
});
