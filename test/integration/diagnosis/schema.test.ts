/** What `doctor` finds about tables, triggers and views; each fault is made for real in a file that is otherwise whole. */
import { describe, expect, test } from 'vitest';
import { maintain } from '../../../src/upkeep/maintenance.ts';
import { ERAS, createDatabase } from '../../support/database/database.ts';
import { createHealthyDatabase, faults, findingsOf, onlyFault, openAgain } from '../../support/database/diagnosis.ts';
import { operationOn } from '../../support/database/operation.ts';
import { GUIDE_REPORT_VIEW } from '../../support/database/guide-sql.ts';

describe('tables', () => {
  test('that were never made', async () => {
    using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
    database.addUser({ id: 'root', role: 'admin' });
    const found = await onlyFault(database, 'problem tables');
    expect(found).toMatchObject({
      finding: expect.stringContaining('table organization_members is missing') as string,
    });
    expect(found.remedy).toContain('modelgate init');
  });

  test('with a column of another name', async () => {
    using database = createHealthyDatabase();
    database.sql.exec('DROP VIEW user_available_models; DROP VIEW user_model_access_report');
    database.sql.exec('ALTER TABLE organization_members RENAME COLUMN organization_id TO org_id');
    const found = await onlyFault(database, 'problem tables');
    expect(found.finding).toContain('table organization_members has no column organization_id');
  });

  test.each([
    ['DROP INDEX idx_org_models_org_active', 'warning tables', 'index idx_org_models_org_active'],
    ['DROP VIEW user_model_access_report', 'warning tables', 'view user_model_access_report'],
    [
      'DROP TRIGGER modelgate_organization_members_update',
      'warning version counter',
      'a trigger is missing or changed',
    ],
    ['DELETE FROM modelgate_version', 'warning version counter', 'its table or its rows are missing'],
  ])('after %s', async (statement, fault, words) => {
    using database = createHealthyDatabase();
    database.sql.exec(statement);
    const found = await onlyFault(database, fault);
    expect(found.finding).toContain(words);
    expect(found.remedy).toContain('modelgate init');
  });

  test('with a trigger of the right name that counts nothing', async () => {
    using database = createHealthyDatabase();
    database.sql.exec(`DROP TRIGGER modelgate_organization_models_insert;
      CREATE TRIGGER modelgate_organization_models_insert AFTER INSERT ON organization_models BEGIN SELECT 1; END`);
    expect((await onlyFault(database, 'warning version counter')).finding).toContain(
      'trigger modelgate_organization_models_insert',
    );
  });

  test('without a view that the guide times: said, and the rest is proved', async () => {
    using database = createHealthyDatabase();
    database.sql.exec('DROP VIEW user_available_models');
    expect(faults(await findingsOf(database))).toEqual(['warning tables', 'unknown index use']);
  });

  test('in the middle of a migration of the backend', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.exec('ALTER TABLE model RENAME TO _alembic_tmp_model');
    expect(faults(await findingsOf(database))).toContain('problem tables');
  });
});

describe('what is in the way of an upgrade', () => {
  test.each(ERAS)("the guide's view on %s, whose removal lets the migration pass", async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.exec(`DROP VIEW user_model_access_report; ${GUIDE_REPORT_VIEW}`);
    const migrate = () =>
      database.sql.exec(
        'CREATE TABLE _alembic_tmp_user AS SELECT * FROM user; DROP TABLE user; ALTER TABLE _alembic_tmp_user RENAME TO user',
      );
    database.sql.exec('BEGIN');
    expect(migrate).toThrow('error in view user_model_access_report: no such table: main.user');
    database.sql.exec('ROLLBACK');
    const found = await onlyFault(database, 'warning upgrade');
    const drop = /DROP VIEW "[^"]+";/.exec(found.remedy ?? '')?.[0] ?? '';
    using again = openAgain(database.path);
    again.sql.exec(drop);
    again.sql.exec('BEGIN');
    again.sql.exec(
      'CREATE TABLE _alembic_tmp_user AS SELECT * FROM user; DROP TABLE user; ALTER TABLE _alembic_tmp_user RENAME TO user',
    );
  });

  test.each(ERAS)('nothing after a VACUUM on %s, which writes the tables in another order', async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.close();
    await maintain(operationOn(database.path), { vacuum: true, onStep: () => undefined });
    expect(faults(await findingsOf(database))).toEqual([]);
    using again = openAgain(database.path);
    for (const table of ['user', 'model']) {
      again.sql.exec(`BEGIN; CREATE TABLE _alembic_tmp AS SELECT * FROM "${table}"; DROP TABLE "${table}";
        ALTER TABLE _alembic_tmp RENAME TO "${table}"; COMMIT`);
    }
    expect(again.sql.prepare('SELECT count(*) FROM user_model_access_report').pluck().get()).toBeTypeOf('number');
  });

  test('a trigger and views on views, each named; a column that is called model is no table', async () => {
    using database = createHealthyDatabase();
    database.sql.exec(`
      CREATE VIEW "people ""all""" AS SELECT id FROM user;
      CREATE VIEW few AS SELECT id FROM "people ""all""" LIMIT 1;
      CREATE VIEW harmless AS SELECT model_id AS model, 'FROM user' AS user FROM organization_models;
      CREATE TRIGGER enrol AFTER INSERT ON organization_models BEGIN SELECT id FROM model; END;
      CREATE TRIGGER through INSTEAD OF INSERT ON harmless BEGIN SELECT id FROM model; END`);
    const { finding, remedy } = await onlyFault(database, 'warning upgrade');
    expect(finding).toContain('view people "all"');
    expect(finding).toContain('trigger enrol');
    expect(finding).toContain('trigger through');
    expect(finding).not.toContain('view harmless');
    expect(remedy).toContain('DROP VIEW "people ""all""";');
  });
});
