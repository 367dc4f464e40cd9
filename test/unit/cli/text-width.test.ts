import { expect, test } from 'vitest';
import { widthOf } from '../../../src/cli/text-width.ts';

test.each([
  ['openai/gpt-4o', 13],
  ['', 0],
  ['Zoë Ørsted', 10],
  ['Zoe\u0308', 3],
  ['Привет…', 7],
  ['東京', 4],
  ['한국', 4],
  ['ｆｕｌｌ', 8],
  ['🦊 fox', 6],
  ['👩‍👩‍👧', 2],
  ['❤️', 2],
  ['\u0301', 0],
])('%j takes %i columns', (text, width) => expect(widthOf(text)).toBe(width));
