import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { describeSetting, isSettingName, readValues, SETTING_NAMES } from '../../../src/config/settings.ts';
import { settingsTable, TABLE_MARKERS } from '../../support/gate/settings-documents.ts';

describe('the list of settings', () => {
  for (const name of SETTING_NAMES) {
    const { fallback, example, expected, meaning, secret } = describeSetting(name);

    test(`${name} accepts its own default and its own example`, () => {
      const typed = [fallback ?? [], secret ? [] : example].flat();
      for (const text of typed) expect(readValues({ [name]: text }).reasons).toEqual([]);
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
  const rows = settingsTable().trimEnd().split('\n');

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
    const [, behind = ''] = readFileSync(readme, 'utf8').split(TABLE_MARKERS.start);
    const [shown = ''] = behind.split(TABLE_MARKERS.end);
    expect(shown.trim()).toBe(settingsTable().trim());
  });
});
