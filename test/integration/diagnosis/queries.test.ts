/** What `doctor` finds about plans and statistics. */
import { describe, expect, test } from 'vitest';
import { createHealthyDatabase, faults, findingsOf, withName, openAgain } from '../../support/database/diagnosis.ts';

describe('index use', () => {
  test('a dropped index under many rows is a problem', async () => {
    using database = createHealthyDatabase({ members: 12_000 });
    database.sql.exec('DROP INDEX idx_org_members_user_active');
    const findings = await findingsOf(database, { quick: true });
    expect(faults(findings)).toContain('warning tables');
    const scans = withName(findings, 'index use');
    expect(scans.map(({ status }) => status)).toContain('problem');
    expect(scans.map(({ finding }) => finding).join()).toContain(
      'The query memberships reads all 12,002 rows of organization_members',
    );
    expect(scans.map(({ finding }) => finding).join()).toContain('The query user_orgs');
  });

  test('statistics that are missing, then stale, are warnings for large tables only', async () => {
    using database = createHealthyDatabase({ members: 1_500 });
    const { path } = database;
    const missing = await findingsOf(database, { quick: true });
    expect(faults(missing)).toEqual(['warning statistics']);
    expect(withName(missing, 'statistics')[0]?.finding).toContain('organization_members has 1,502 rows');
    using again = openAgain(path);
    again.sql.exec("ANALYZE; UPDATE sqlite_stat1 SET stat = '12 4 1' WHERE tbl = 'organization_members'");
    const stale = await findingsOf({ path, sql: again.sql }, { quick: true });
    expect(withName(stale, 'statistics')).toMatchObject([{ status: 'warning' }]);
    expect(withName(stale, 'statistics')[0]?.finding).toContain('had 12 rows then and has 1,502 now');
  });
});
