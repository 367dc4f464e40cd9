/** What another process withdraws is refused from the very next request on. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ERAS } from '../support/database/database.ts';
import { chat } from '../support/gate/attacks.ts';
import { type TestGate, startTestGate } from '../support/gate/gate.ts';
import { type OtherProcess, openOtherProcess } from '../support/process/other-process.ts';

let other: OtherProcess;
beforeAll(async () => {
  other = await openOtherProcess();
});
afterAll(async () => other.close());

describe.each(ERAS)('on a database of %s', (era) => {
  let gate: TestGate;
  beforeEach(async () => {
    gate = await startTestGate({}, era);
    gate.database.addModel({ id: 'preset', base: 'A' });
  });
  afterEach(async () => {
    await other.release(gate.database.path);
    await gate[Symbol.asyncDispose]();
  });

  const take = (sql: string) => other.run(gate.database.path, sql);
  const use = async (model: string, init?: RequestInit) => {
    gate.ran();
    const answer = await gate.ask('ann', '/api/chat/completions', chat(model), init);
    await answer.text();
    return [answer.status, gate.ran()];
  };
  const listed = async () => {
    const answer = await gate.ask('ann', '/api/models');
    const { data = [] } = (await answer.json()) as { data?: { id: string }[] };
    return data.map(({ id }) => id);
  };

  const GRANT = "organization_id = 'acme' AND model_id = 'A'";
  const ANN = "user_id = 'ann'";

  test.each<[name: string, sql: string, left: readonly string[]]>([
    ['a grant switched off', `UPDATE organization_models SET is_active = 0 WHERE ${GRANT}`, ['acme/one']],
    ['a grant deleted', `DELETE FROM organization_models WHERE ${GRANT}`, ['acme/one']],
    [
      'a grant moved',
      `UPDATE organization_models SET organization_id = 'globex', id = 'x' WHERE ${GRANT}`,
      ['acme/one'],
    ],
    ['a membership switched off', `UPDATE organization_members SET is_active = 0 WHERE ${ANN}`, []],
    ['a membership deleted', `DELETE FROM organization_members WHERE ${ANN}`, []],
    ['a membership moved', `UPDATE organization_members SET organization_id = 'globex' WHERE ${ANN}`, ['F']],
    ['a role', `UPDATE "user" SET role = 'pending' WHERE id = 'ann'`, []],
  ])('%s', async (_name, sql, left) => {
    expect(await use('A')).toEqual([200, ['A']]);
    expect(await listed()).toEqual(['A', 'acme/one', 'preset']);
    await take(sql);
    expect(await use('A')).toEqual([403, []]);
    expect(await use('preset')).toEqual([403, []]);
    await take(`UPDATE "user" SET name = 'x' WHERE id = 'bob'`);
    expect(await listed()).toEqual(left);
  });

  test('a preset that comes to mean another model', async () => {
    expect(await use('preset')).toEqual([200, ['A']]);
    await take("UPDATE model SET base_model_id = 'F' WHERE id = 'preset'");
    expect(await use('preset')).toEqual([403, []]);
    await take(`UPDATE model SET base_model_id = 'A', params = '{"model":"F"}' WHERE id = 'preset'`);
    expect(await use('preset')).toEqual([403, []]);
  });

  test('a user who is gone', async () => {
    expect(await use('A')).toEqual([200, ['A']]);
    await take(`DELETE FROM "user" WHERE id = 'ann'`);
    expect(await use('A')).toEqual([401, []]);
  });

  test('an API key', async () => {
    const init = { headers: { authorization: 'Bearer sk-ann' } };
    // the sample backend reads keys from the newer table only: what counts is that the gate lets it pass
    expect((await use('A', init))[0]).not.toBe(401);
    const sql = era === '0.6.18' ? 'UPDATE "user" SET api_key = NULL' : 'DELETE FROM api_key';
    await take(sql);
    expect(await use('A', init)).toEqual([401, []]);
  });

  test('and what is given works at once', async () => {
    expect(await use('F')).toEqual([403, []]);
    await take(
      "INSERT INTO organization_members (id, organization_id, user_id) VALUES ('om_ann_globex', 'globex', 'ann')",
    );
    expect(await use('F')).toEqual([200, ['F']]);
    expect(await listed()).toEqual(['A', 'F', 'acme/one', 'preset']);
  });
});
