/** A gate whose configuration changes while it runs keeps what it has learned and what it counts. */
import { expect, test } from 'vitest';
import { startTestGate } from '../../support/gate/gate.ts';

const PRESET = { id: 'other/one', name: 'mine', base_model_id: 'A', meta: {}, params: {} };

test('it still knows the models that providers were seen to have', async () => {
  await using gate = await startTestGate();
  await using forgetful = await startTestGate();
  const makePreset = async ({ ask }: typeof gate) => (await ask('ann', '/api/v1/models/create', PRESET)).status;
  await (await gate.ask('ann', '/api/models')).text();
  gate.gate.reconfigure({ ...gate.config, policy: { ...gate.config.policy, denial: 'hide' } });
  expect(await makePreset(gate)).toBe(404);
  // this one has answered no request for a list
  expect(await makePreset(forgetful)).toBe(200);
});
