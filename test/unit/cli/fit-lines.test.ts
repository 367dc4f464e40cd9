import { describe, expect, test } from 'vitest';
import { fitLines } from '../../../src/cli/terminal.ts';

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
])('%j takes %i columns', (text, width) => {
  const line = `a${text} b`;
  expect(fitLines(line, width + 3)).toBe(line);
  expect(fitLines(line, width + 2)).toContain('\n');
});

describe('a line that is longer than the terminal is wide', () => {
  test('breaks between words, below the text and not below what stands before it', () => {
    expect(fitLines('modelgate: one two three four five six', 24)).toBe('modelgate: one two three\nfour five six');
    expect(fitLines('warning  locks  another writes without any rest', 36)).toBe(
      'warning  locks  another writes\n                without any rest',
    );
    expect(fitLines('    indented by four, and longer than that', 30)).toBe(
      '    indented by four, and\n    longer than that',
    );
  });

  test('keeps whole what is to be copied', () => {
    const line = 'ORGANIZATION_NAME="Acme of the north"';
    expect(fitLines(line, 20)).toBe(line);
    expect(fitLines('Run `modelgate model allow gpt-4o --org acme` first.', 30)).toBe(
      'Run\n`modelgate model allow gpt-4o --org acme`\nfirst.',
    );
  });

  test('that is a command goes on behind a backslash, and not inside of quotes', () => {
    expect(fitLines('  $ modelgate migrate --org acme --name "Acme of the north" --dry-run', 42)).toBe(
      '  $ modelgate migrate --org acme --name \\\n    "Acme of the north" --dry-run',
    );
    expect(fitLines("  modelgate model allow 'a model of ours' --org acme", 40)).toBe(
      "  modelgate model allow \\\n    'a model of ours' --org acme",
    );
  });

  test('counts neither colours nor marks as columns, and wide letters as two', () => {
    const red = (text: string): string => `\u001b[31m${text}\u001b[39m`;
    expect(fitLines(`${red('problem')} and nothing else`, 27)).toBe(`${red('problem')} and nothing else`);
    expect(fitLines('東京 東京 東京', 10)).toBe('東京 東京\n東京');
  });

  test.each([40, 60, 80])('of any text has no line above %i columns but those of one word', (columns) => {
    const text = `The query ${'reads all rows, '.repeat(30)}because no index serves ${'x'.repeat(90)} it.`;
    for (const line of fitLines(text, columns).split('\n')) {
      expect(line.length <= columns || !line.trim().includes(' ')).toBe(true);
    }
    expect(fitLines(text, columns).split(/\s+/)).toEqual(text.split(/\s+/));
  });
});
