import { describe, expect, test } from 'vitest';
import { shellCommand } from '../../../src/backend-file/text.ts';

describe('a command to be pasted', () => {
  test('leaves plain words as they are', () => {
    expect(shellCommand('modelgate', 'model', 'allow', 'openai/gpt-4o:free')).toBe(
      'modelgate model allow openai/gpt-4o:free',
    );
  });

  test('quotes what the shell would read otherwise', () => {
    expect(shellCommand('openai/*', "it's", '$(reboot)', '')).toBe(`'openai/*' 'it'\\''s' '$(reboot)' ''`);
  });

  test('shows nothing that steers a terminal, and leaves out what is not readable', () => {
    expect(shellCommand('\u001b[2J\u202e')).toBe(String.raw`$'\x1b[2J\u202e'`);
    expect(shellCommand('a'.repeat(10_000))).toBe('…');
  });
});
