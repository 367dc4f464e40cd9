import { describe, expect, test } from 'vitest';
import { describeSetting } from '../../../src/config/settings.ts';

const rate = describeSetting('MODELGATE_LIMIT_USER').schema;
const concurrency = describeSetting('MODELGATE_LIMIT_CONCURRENT_CHATS').schema;

describe('a limit', () => {
  test.each([
    ['120/1m:40', { count: 120, windowSeconds: 60, burst: 40 }],
    ['120/1m:0', { count: 120, windowSeconds: 60, burst: 0 }],
    ['120/1m', { count: 120, windowSeconds: 60, burst: 119 }],
    ['1/1s', { count: 1, windowSeconds: 1, burst: 0 }],
    ['5/90s:5', { count: 5, windowSeconds: 90, burst: 5 }],
    ['7/2h:1', { count: 7, windowSeconds: 7_200, burst: 1 }],
    ['1000000/1d:1000000', { count: 1_000_000, windowSeconds: 86_400, burst: 1_000_000 }],
    ['off', 'off'],
  ])('%s is read', (text, expected) => {
    expect(rate.parse(text)).toEqual(expected);
  });

  test.each([
    ['', 'it has no window, which comes after a slash: `120/1m`'],
    ['120', 'it has no window, which comes after a slash: `120/1m`'],
    ['120/1m:', 'the burst after the colon is missing'],
    ['120/1m:x', 'the burst after the colon is not a whole number'],
    ['120/1m:-1', 'the burst after the colon is not a whole number'],
    ['120/1m:1000001', 'the burst after the colon is larger than 1000000'],
    ['120/1m:1:1', 'there is too much in it'],
    ['120/1m/1', 'there is too much in it'],
    ['/1m', 'the count before the slash is missing'],
    ['1.5/1m', 'the count before the slash is not a whole number'],
    [' 1/1m', 'the count before the slash is not a whole number'],
    ['1000001/1m', 'the count before the slash is larger than 1000000'],
    ['0/1m', 'it would refuse everything; `off` switches a limit off'],
    ['120/', 'its window is no duration, as in `1m`'],
    ['120/60', 'its window has no unit, as in `1m`'],
    ['120/m', 'its window has no number, as in `1m`'],
    ['120/1 m', 'its window is no duration, as in `1m`'],
    ['120/1w', 'its window is no duration, as in `1m`'],
    ['120/500ms', 'its window is not in whole seconds'],
    ['120/0s', 'its window is too short'],
    ['120/2d', 'its window is too long'],
    ['Off', 'it has no window, which comes after a slash: `120/1m`'],
  ])('%j is refused: %s', (text, message) => {
    expect(rate.safeParse(text).error?.issues.map((issue) => issue.message)).toEqual([message]);
  });
});

describe('a number at a time', () => {
  test.each([
    ['1', 1],
    ['1000000', 1_000_000],
    ['off', 'off'],
  ])('%s is read', (text, expected) => {
    expect(concurrency.parse(text)).toBe(expected);
  });

  test.each([
    ['', 'it is missing'],
    ['0', 'it would refuse everything; `off` switches a limit off'],
    ['-1', 'it is not a whole number'],
    ['1/1m', 'it is not a whole number'],
    ['1000001', 'it is larger than 1000000'],
  ])('%j is refused: %s', (text, message) => {
    expect(concurrency.safeParse(text).error?.issues.map((issue) => issue.message)).toEqual([message]);
  });
});
