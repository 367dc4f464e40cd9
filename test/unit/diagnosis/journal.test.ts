import { describe, expect, test } from 'vitest';
import { checkJournalMode } from '../../../src/diagnosis/journal.ts';
import { releaseOf } from '../../support/database/diagnosis.ts';

/** The last migration of a release in each era. */
const REVISIONS = {
  '0.6.18': 'd31026856c01',
  '0.6.36': 'a5c220713937',
  '0.8.12': 'b2c3d4e5f6a7',
  '0.9.2': '56359461a091',
  '0.12.4': '0bd252b206fb',
};

const finding = (release: keyof typeof REVISIONS, mode: string, walWanted?: boolean) =>
  checkJournalMode(mode, releaseOf(REVISIONS[release]), walWanted);

describe('the journal mode', () => {
  test.each([
    ['0.6.18', 'delete', undefined, 'ok'],
    ['0.6.18', 'wal', undefined, 'warning'],
    ['0.6.36', 'delete', undefined, 'ok'],
    ['0.6.36', 'wal', undefined, 'warning'],
    ['0.6.36', 'wal', true, 'ok'],
    ['0.8.12', 'delete', undefined, 'ok'],
    ['0.8.12', 'delete', true, 'warning'],
    ['0.8.12', 'wal', undefined, 'warning'],
    ['0.9.2', 'wal', undefined, 'ok'],
    ['0.9.2', 'delete', undefined, 'warning'],
    ['0.9.2', 'delete', false, 'ok'],
    ['0.12.4', 'wal', undefined, 'ok'],
    ['0.12.4', 'delete', undefined, 'warning'],
    ['0.12.4', 'memory', undefined, 'unknown'],
  ] as const)('of %s, %s with the variable %s is %s', (release, mode, wanted, status) => {
    expect(finding(release, mode, wanted).status).toBe(status);
  });

  test.each(['0.6.18', '0.6.36', '0.8.12'] as const)('switching by hand to WAL is never advised for %s', (release) => {
    for (const mode of ['delete', 'wal']) {
      for (const wanted of [undefined, true, false]) {
        const { finding: found, remedy } = finding(release, mode, wanted);
        expect(`${found} ${remedy ?? ''}`).not.toMatch(/journal_mode|PRAGMA|switch (?:it )?to WAL/i);
      }
    }
  });

  test('of an unknown release is left alone', () => {
    expect(checkJournalMode('wal', releaseOf('ffff00000000'), undefined)).toMatchObject({
      status: 'ok',
      finding: expect.stringContaining('leave it as it is') as string,
    });
  });
});

describe('the release of a migration', () => {
  test.each([
    ['d31026856c01', '0.6.16', '0.6.23', 'none'],
    ['018012973d35', '0.6.23', '0.6.27', 'backend_delete'],
    ['b2c3d4e5f6a7', '0.8.1', '0.9.0', 'backend_delete'],
    ['a3dd5bedd151', '0.9.0', '0.9.3', 'backend_wal'],
    ['3ff2c63645b8', '0.10.0', '0.11.0', 'backend_wal'],
    ['0bd252b206fb', '0.12.1', undefined, 'backend_wal'],
  ])('%s is %s or later', (revision, since, before, journal) => {
    expect(releaseOf(revision)).toEqual({ kind: 'known', revision, since, before, journal });
  });
});
