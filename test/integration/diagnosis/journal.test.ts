/** What `doctor` finds about the release that has written the file. */
import { describe, expect, test } from 'vitest';
import { createHealthyDatabase, findingsOf, withName, onlyFault } from '../../support/database/diagnosis.ts';

describe('the release', () => {
  test.each([
    ['0.6.18', 'Open WebUI 0.6.16 or later, before 0.6.23', 'd31026856c01'],
    ['0.12.4', 'Open WebUI 0.12.1 to 0.12.4', '0bd252b206fb'],
  ] as const)('of a file of %s is recognised', async (era, words, revision) => {
    using database = createHealthyDatabase({ era });
    const finding = `The file was written by ${words}.`;
    expect(withName(await findingsOf(database), 'release')).toMatchObject([{ finding, revision }]);
  });

  test('with an unknown migration is a warning', async () => {
    using database = createHealthyDatabase();
    database.run("UPDATE alembic_version SET version_num = 'ffff00000000'");
    expect((await onlyFault(database, 'warning release')).finding).toContain('newer than this modelgate knows');
  });

  test('without any mark is a warning', async () => {
    using database = createHealthyDatabase();
    database.run('DELETE FROM alembic_version');
    expect((await onlyFault(database, 'warning release')).finding).toContain('no mark of a migration');
  });
});
