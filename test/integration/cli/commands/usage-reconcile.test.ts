/** `modelgate usage reconcile`: what the provider says of calls, against what the ledger has. */
import { describe, expect, test } from 'vitest';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { type UsageLedger, usageOfTest } from '../../../support/database/settled-calls.ts';
import { callsIn } from '../../../support/database/usage.ts';
import { TEST_SECRET } from '../../../support/gate/session.ts';
import { runCommand } from '../../../support/process/command.ts';
import { type RecordingUpstream, sendJson, startRecordingUpstream } from '../../../support/upstream/upstreams.ts';

/** Knows these calls: tokens in and out, and USD. */
const startProvider = (
  known: Readonly<Record<string, readonly [number, number, number]>>,
): Promise<RecordingUpstream> =>
  startRecordingUpstream((incoming, outgoing) => {
    const id = new URL(incoming.url ?? '/', 'http://provider').searchParams.get('id') ?? '';
    const [input, output, cost] = known[id] ?? [];
    if (input === undefined) return sendJson(outgoing, { error: { message: 'not found' } }, 404);
    sendJson(outgoing, { data: { native_tokens_prompt: input, native_tokens_completion: output, total_cost: cost } });
  });

async function reconcile({ origin }: RecordingUpstream, { path }: UsageLedger, ...words: readonly string[]) {
  const environment = {
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
    DATABASE_URL: `sqlite:///${databaseOfTest().path}`,
    WEBUI_SECRET_KEY: TEST_SECRET,
    MODELGATE_PROVIDER_PORT: '8081',
    MODELGATE_PROVIDER_ACCESS_KEY: 'the-access-key-of-the-backend-under-test',
    MODELGATE_PROVIDERS: `${origin}/v1`,
  };
  return runCommand(['usage', 'reconcile', '--usage-database', path, ...words], { environment });
}

describe('usage reconcile', () => {
  test('settles calls that were cut, and shows what differs of others without changing it', async () => {
    await using upstream = await startProvider({
      'gen-same': [10, 5, 0.001],
      'gen-dearer': [10, 5, 0.0015],
      'gen-longer': [10, 6, 0.001],
      'gen-asked': [11, 5, 0.001],
      'gen-cut': [7, 3, 0.002],
    });
    const ledger = usageOfTest();
    const usual = { at: Date.now() - 60_000, provider: new URL(upstream.origin).host, input: 10, output: 5, cost: 1e6 };
    for (const id of ['same', 'dearer', 'longer', 'asked', 'unknown'])
      ledger.settle({ ...usual, generationId: `gen-${id}` });
    ledger.settle({ ...usual, at: Date.now() - 7_200_000, generationId: 'gen-old' });
    ledger.begin({ ...usual, at: Date.now() - 7_200_000, generationId: 'gen-cut', state: 'interrupted' });
    const { code, stdout, stderr } = await reconcile(upstream, ledger, '--json');
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ asked: 6, unknown: 1, settled: 1 },
      calls: [
        { generation: 'gen-dearer', cost_usd: '0.001', provider_cost_usd: '0.0015' },
        { generation: 'gen-longer', output: 5, provider_output: 6 },
        { generation: 'gen-asked', input: 10, provider_input: 11 },
      ],
    });
    const rows = callsIn(ledger.path).map((row) => [row.generation_id, row.state, row.measured, row.cost_nano]);
    expect(rows).toContainEqual(['gen-cut', 'closed', 'reconciled', 2e6]);
    expect(rows).toContainEqual(['gen-dearer', 'closed', 'reported', 1e6]);
    const sum = ledger.connection.prepare(`SELECT sum(cost_nano) FROM usage_slot WHERE measured = 'reconciled'`);
    expect(sum.pluck().get()).toBe(2e6);
  });

  test('what no answer says, as the output of an embedding, is no difference to 0', async () => {
    await using upstream = await startProvider({ 'gen-embedding': [10, 0, 0.001], 'gen-more': [10, 3, 0.001] });
    const ledger = usageOfTest();
    const embedding = { at: Date.now() - 60_000, provider: new URL(upstream.origin).host, input: 10, cost: 1e6 };
    for (const id of ['embedding', 'more']) ledger.settle({ ...embedding, generationId: `gen-${id}` });
    ledger.connection.exec('UPDATE usage_request SET output = NULL');
    const { stdout } = await reconcile(upstream, ledger, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      asked: 2,
      calls: [{ generation: 'gen-more', output: null, provider_output: 3 }],
    });
  });

  test('ends with 0 where nothing differs', async () => {
    await using upstream = await startProvider({});
    expect(await reconcile(upstream, usageOfTest())).toEqual({
      ...{ code: 0, stderr: '' },
      stdout: 'Asked for 0 calls: 0 differ, 0 not known to the provider; 0 that were cut are settled now.\n',
    });
  });

  test('needs the settings of the gate', async () => {
    const { path } = usageOfTest();
    expect(await runCommand(['usage', 'reconcile', '--usage-database', path])).toMatchObject({ code: 2, stdout: '' });
  });
});
