import { describe, expect, test } from 'vitest';
import type { RateLimit } from '../../../src/config/schema.ts';
import { type Standing, announceNoPlace, createAnnouncement } from '../../../src/limits/headers.ts';

const RATE: RateLimit = { count: 120, windowSeconds: 60, burst: 40 };
const STANDING: Standing = { limit: 'user', admitted: true, remaining: 12, moreInMs: 350, fullInMs: 14_350 };

function told(standing: Partial<Standing>, rate: Partial<RateLimit> = {}): string[] {
  const lines: string[] = [];
  createAnnouncement({ user: { ...RATE, ...rate } })(lines, { ...STANDING, ...standing });
  return lines;
}

describe('what an answer says about limits', () => {
  test('are structured fields of the draft, and the three that OpenAI has', () => {
    expect(told({})).toEqual([
      ...['ratelimit', '"user";r=12;t=1'],
      ...['ratelimit-policy', '"user";q=120;w=60;modelgate-burst=40'],
      ...['x-ratelimit-limit-requests', '41'],
      ...['x-ratelimit-remaining-requests', '12'],
      ...['x-ratelimit-reset-requests', '14.35s'],
    ]);
  });

  test('names no burst where the whole count may come at once', () => {
    expect(told({}, { burst: 119 })).toEqual(expect.arrayContaining(['"user";q=120;w=60', '120']));
  });

  test.each([
    [1, '1'],
    [1_000, '1'],
    [1_001, '2'],
    [86_400_000, '86400'],
  ])('a refusal that ends in %d ms asks to come back after %s s, never before the time in RateLimit', (ms, seconds) => {
    const lines = told({ admitted: false, remaining: 0, moreInMs: ms });
    expect(lines.slice(0, 2)).toEqual(['ratelimit', `"user";r=0;t=${seconds}`]);
    expect(lines.slice(-2)).toEqual(['retry-after', seconds]);
  });

  test('is nothing where nothing was charged', () => {
    const lines = ['a', 'b'];
    createAnnouncement({})(lines, undefined);
    expect(lines).toEqual(['a', 'b']);
  });

  test('for want of a place is a policy on requests at the same time', () => {
    const lines: string[] = [];
    announceNoPlace(4)(lines, 429);
    expect(lines).toEqual([
      ...['ratelimit', '"concurrent-chats";r=0'],
      ...['ratelimit-policy', '"concurrent-chats";q=4;qu="concurrent-requests"'],
      ...['retry-after', '2'],
    ]);
  });
});

test.each([
  [0, '0ms'],
  [0.2, '1ms'],
  [350, '350ms'],
  [1_000, '1s'],
  [14_350, '14.35s'],
  [60_000, '1m0s'],
  [359_001, '6m0s'],
  [86_400_000, '24h0m0s'],
])('%d ms are spelled %s', (ms, text) => {
  expect(told({ fullInMs: ms }).slice(-2)).toEqual(['x-ratelimit-reset-requests', text]);
});
