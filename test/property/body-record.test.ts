/** What a thread reads of a body is what is read of it here and now, whatever the body. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { answerAs, Lane } from '../../src/reading/lane.ts';
import { GatewayError } from '../../src/errors.ts';
import { type BodyQuestion, readRecord } from '../../src/references/records.ts';

const lane = new Lane<{ readonly answered: unknown }>({
  script: new URL('../../src/reading/reading.ts', import.meta.url),
  ...{ workerData: 'reads bodies', heapMb: 64, deadlineMs: 20_000, isShortLived: false },
  exhausted: () => new GatewayError('body_too_complex'),
});
afterAll(() => lane.close());

const key = fc.constantFrom(
  ...[
    'model',
    'models',
    'message_ids',
    'model_id',
    'message_id',
    'id',
    'chat',
    'history',
    'messages',
    'params',
    'meta',
  ],
  ...['user_message', 'parentId', 'childrenIds', 'internal', 'timer_id', 'custom_params', 'fallbacks', 'plugins', 'x'],
  ...['stream', 'stream_options', 'include_usage', 'max_tokens', 'user', 'n'],
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium' },
    fc.constantFrom<unknown>('A', 'F', '', null, true, 7, 'n\u0000ul', '{"model":"hidden"}', '<@M:A> <@M:B|'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  ),
}));
const body = fc.oneof(
  { weight: 9, arbitrary: value.map((one) => JSON.stringify(one)) },
  { weight: 1, arbitrary: fc.constantFrom('', '{"a":1,"a":2}', 'model=A', '{"x":NaN}') },
);
const question = fc.constantFrom<BodyQuestion>(
  { kind: 'invocation', rules: { topLevel: new Set(['name']) }, mentions: true, mayBeEmpty: true },
  { kind: 'call', rules: { topLevel: new Set(['name']) }, endpoint: 'chat/completions' },
  { kind: 'presets', form: 'preset_list', queryId: 'A' },
  { kind: 'presets', form: 'preset_switch', queryId: undefined },
  { kind: 'save', form: 'chat' },
  { kind: 'save', form: 'chat_import' },
  { kind: 'any' },
  { kind: 'form', contentType: 'application/x-www-form-urlencoded' },
);

describe('a record', () => {
  test('is the same from a thread', async () => {
    await fc.assert(
      fc.asyncProperty(question, body, async (asked, text) => {
        const bytes = new TextEncoder().encode(text).slice().buffer;
        const message = { question: asked, bytes, length: bytes.byteLength };
        const { answered } = await lane.run({ payer: '', message });
        expect(answered).toEqual(await answerAs(() => readRecord(asked, Buffer.from(text))));
      }),
      { numRuns: 300 },
    );
  });
});
