import { describe, expect, test } from 'vitest';
import { createAccessKeys } from '../../../src/provider-door/admit.ts';

const [OLD, NEW] = ['o'.repeat(32), 'n'.repeat(32)];
const placesOfKey = createAccessKeys([OLD, NEW]);

describe('the access key', () => {
  test.each([
    [['Authorization', `Bearer ${OLD}`], ['authorization']],
    [['authorization', `bearer  ${NEW}`], ['authorization']],
    [['api-key', OLD], ['api-key']],
    [['X-Api-Key', NEW], ['x-api-key']],
    [
      ['Authorization', `Bearer ${OLD}`, 'x-api-key', NEW],
      ['authorization', 'x-api-key'],
    ],
  ])('is accepted in %j', (lines, places) => expect([...(placesOfKey(lines) ?? [])]).toEqual(places));

  test.each([
    [[]],
    [['Authorization', `Bearer ${OLD.slice(1)}`]],
    [['Authorization', `Bearer ${OLD} `]],
    [['Authorization', OLD]],
    [['Authorization', `Basic ${OLD}`]],
    [['api-key', `Bearer ${OLD}`]],
    [['x-api-key', '']],
    [['Cookie', `token=${OLD}`]],
    [['x-key', OLD]],
    // one line that is right does not cover another that is wrong, in whichever order
    [['Authorization', `Bearer ${OLD}`, 'x-api-key', 'another']],
    [['x-api-key', 'another', 'Authorization', `Bearer ${OLD}`]],
    [['Authorization', `Bearer ${OLD}`, 'Authorization', `Bearer ${OLD}`]],
  ])('is not accepted in %j', (lines) => expect(placesOfKey(lines)).toBeUndefined());
});
