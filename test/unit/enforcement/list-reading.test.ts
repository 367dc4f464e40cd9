import { afterAll, expect, test } from 'vitest';
import { indexList } from '../../../src/enforcement/list.ts';
import { createListReading } from '../../../src/enforcement/list-reading.ts';
import { SHAPES } from '../../../src/openwebui/lists.ts';

const reading = createListReading();
afterAll(() => reading.close());

/** What a user may put into a preset: content of no meaning, and much of it. */
const withContent = (objects: number): Buffer =>
  Buffer.from(
    JSON.stringify({
      data: [
        { id: 'provider/one' },
        { id: 'mine', preset: true, info: { base_model_id: 'provider/one', meta: { x: Array(objects).fill({}) } } },
        { id: 'provider/two:latest' },
      ],
    }),
  );

test('a short list is read at once', () => {
  const list = reading.read(withContent(10), SHAPES.models);
  expect(list).not.toBeInstanceOf(Promise);
  expect(list).toMatchObject({ providerIds: ['provider/one', 'provider/two:latest'] });
});

test('a long list is read as a short one is, while other work goes on', async () => {
  const body = withContent(400_000);
  let turns = 0;
  const turn = setInterval(() => (turns += 1), 1);
  const list = await reading.read(body, SHAPES.models);
  clearInterval(turn);
  expect(turns).toBeGreaterThan(0);
  expect(list).toEqual(indexList(body, SHAPES.models));
  expect(body.subarray(0, 9).toString()).toBe('{"data":[');
});

test('a long answer that is no list is an error of its own', async () => {
  const broken = Buffer.concat([withContent(200_000), Buffer.from('}')]);
  await expect(reading.read(broken, SHAPES.models)).rejects.toThrow('the answer is no JSON');
  await expect(reading.read(Buffer.from(`"${'x'.repeat(300_000)}"`), SHAPES.models)).rejects.toThrow('no object');
  await expect(reading.read(withContent(200_000), SHAPES.models)).resolves.toHaveProperty('outside.lists.length', 1);
});
