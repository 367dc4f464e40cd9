import { describe, expect, test } from 'vitest';
import { changing, reading } from '../../../src/backend-file/transaction.ts';
import { ERAS, createDatabase } from '../../support/database/database.ts';
import { operationOn } from '../../support/database/operation.ts';

const nothing = () => undefined;

describe('a file of an unknown release', () => {
  test('is changed all the same where its tables fit, and the operator hears of it once', async () => {
    using database = createDatabase();
    database.run('UPDATE alembic_version SET version_num = ?', 'ffffffffffff');
    const operation = operationOn(database.path);
    await changing(operation, 'organizations', nothing);
    expect(operation.said).toEqual([
      expect.stringMatching(/^Take care: the file is newer than this modelgate knows.*"ffffffffffff".*backup DIR`$/),
    ]);
  });

  test('is read without a word', async () => {
    using database = createDatabase();
    database.run('UPDATE alembic_version SET version_num = ?', 'ffffffffffff');
    const operation = operationOn(database.path);
    await reading(operation, 'organizations', nothing);
    expect(operation.said).toEqual([]);
  });
});

test.each(ERAS)('a file of Open WebUI %s is changed without a word', async (era) => {
  using database = createDatabase({ era });
  const operation = operationOn(database.path);
  await changing(operation, 'organizations', nothing);
  expect(operation.said).toEqual([]);
});
