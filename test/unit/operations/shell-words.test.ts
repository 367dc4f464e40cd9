import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shellCommand } from '../../../src/operations/shell-words.ts';

const hasBash = spawnSync('bash', ['--version']).status === 0;
const readByBash = (words: readonly string[]): readonly string[] => {
  const script = `printf '%s\\0' ${shellCommand(...words)}`;
  const { stdout } = spawnSync('bash', ['-c', script], { encoding: 'utf8', env: { LC_ALL: 'C.UTF-8' } });
  return stdout.split('\0').slice(0, -1);
};

describe('a command to be pasted', () => {
  test('leaves plain words as they are', () => {
    expect(shellCommand('modelgate', 'model', 'allow', 'openai/gpt-4o:free')).toBe(
      'modelgate model allow openai/gpt-4o:free',
    );
  });

  test('quotes what the shell would read otherwise', () => {
    expect(shellCommand('openai/*', "it's", '$(reboot)', '')).toBe(`'openai/*' 'it'\\''s' '$(reboot)' ''`);
  });

  test('shows nothing that steers a terminal, and leaves out what nobody could read', () => {
    expect(shellCommand('\u001b[2J\u202e')).toBe(String.raw`$'\x1b[2J\u202e'`);
    expect(shellCommand('a'.repeat(10_000))).toBe('…');
  });

  test.runIf(hasBash)('is read back by bash word for word', () => {
    const words = fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { minLength: 1, maxLength: 20 });
    const sendable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();
    fc.assert(
      fc.property(words, (all) => {
        const sent = [...all.filter(sendable), "\u001b'\\n\u200b", '$x`y`', '\n', '-n', '\u{e0041}\\'];
        expect(readByBash(sent)).toEqual(sent);
      }),
      { numRuns: 20 },
    );
  });
});
