import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { type Cell, counted, asJson, print, printable, whole } from '../../../src/cli/report.ts';
import { type Terminal, emphasize, createProgress } from '../../../src/cli/terminal.ts';

interface Captured extends Terminal {
  readonly written: string[];
  readonly errors: string[];
}

async function asTable(
  where: Terminal,
  columns: readonly string[],
  rows: readonly (readonly Cell[])[],
): Promise<string> {
  const written: string[] = [];
  await print({ ...where, write: (text) => written.push(text) }, {}, { record: null, parts: [{ columns, rows }] });
  return written.join('');
}

function terminal({ isTerminal = false, environment = {} } = {}): Captured {
  const [written, errors]: [string[], string[]] = [[], []];
  return {
    environment,
    directory: '/',
    screen: { input: isTerminal, output: isTerminal, error: isTerminal, columns: 80 },
    input: () => Readable.from([]),
    write: (text) => void written.push(text),
    writeError: (text) => void errors.push(text),
    stop: new AbortController().signal,
    onHangUp: () => undefined,
    onBug: () => undefined,
    written,
    errors,
  };
}

describe('what comes out of the database', () => {
  test.each([
    ['a cleared screen', '\u001b[2Ja'],
    ['a clipboard that is written', '\u001b]52;c;aGk=\u0007a'],
    ['a C1 control sequence', '\u009b31ma'],
    ['a new line', 'a\nb'],
    ['a carriage return', 'admin\rguest'],
    ['text from right to left', 'a\u202eb'],
    ['isolated text from right to left', 'a\u2067b\u2069'],
    ['a letter of no width', 'a\u200bb'],
    ['a byte order mark', '\ufeffa'],
    ['a line separator', 'a\u2028b'],
    ['hidden tag letters', 'a\u{e0041}b'],
    ['half a pair', 'a\ud83d'],
    ['a backspace', 'a\bb'],
    ['delete', 'a\u007fb'],
  ])('cannot steer the terminal: %s', (_name, text) => {
    const shown = printable(text);
    expect(shown).toMatch(/^[ -~\ufffd]+$/u);
    expect(shown).toContain('\ufffd');
  });

  test.each(['Zoë', '東京', 'Ørsted 100 %', '👩', "O'Neill; --", 'openai/gpt-4o:latest'])(
    'stays as it is: %s',
    (text) => {
      expect(printable(text)).toBe(text);
    },
  );

  test('is cut in a table, and whole where nothing cuts', () => {
    expect(printable('x'.repeat(10_000))).toHaveLength(120);
    expect(whole('x'.repeat(10_000))).toHaveLength(10_000);
  });

  test('is whole and exact in JSON', () => {
    const value = { id: '\u001b[2J\u202e"\n\u009b31m\u{e0041}' };
    expect(JSON.parse(asJson(value))).toEqual(value);
    expect(asJson(value)).toMatch(/^[ -~\n]+$/);
  });
});

describe('a table', () => {
  const columns = ['id', 'members'];

  test('stands in columns without frames, also where letters are wide', async () => {
    const text = await asTable(terminal(), columns, [
      ['東京', 3],
      ['acme', 1_200],
      ['x', null],
    ]);
    expect(text).toBe(['ID    MEMBERS', '東京        3', 'acme     1200', 'x           -', ''].join('\n'));
  });

  test('without rows is its head', async () => expect(await asTable(terminal(), columns, [])).toBe('ID  MEMBERS\n'));

  test('leaves out a column without any value', async () => {
    const text = await asTable(
      terminal(),
      ['id', 'e-mail', 'why'],
      [
        ['acme', null, ''],
        ['ibex', '', 'off'],
      ],
    );
    expect(text).toBe('ID    WHY\nacme\nibex  off\n');
  });

  test('keeps a row in one line, whatever its cells hold', async () => {
    const text = await asTable(terminal(), columns, [['a\nb\u001b[31m', 1]]);
    expect(text.trimEnd().split('\n')).toHaveLength(2);
  });
});

test('rows of names and values stand in two columns', async () => {
  const where = terminal();
  const facts = [
    ['file', '/data/webui.db'],
    ['members', 3],
    ['since', null],
    ['until', undefined],
    ['models', ['a', 'b']],
    ['admins', []],
  ] as const;
  await print(where, {}, { record: null, parts: [facts] });
  expect(where.written.join('')).toBe(
    'file     /data/webui.db\nmembers  3\nsince    -\nmodels   a\n         b\nadmins   none\n',
  );
});

test('numbers and their nouns agree', () => {
  expect([counted(0, 'user'), counted(1, 'user'), counted(14, 'user'), counted(2_000, 'entry', 'entries')]).toEqual([
    '0 users',
    '1 user',
    '14 users',
    '2,000 entries',
  ]);
});

describe('colours', () => {
  const coloured = '\u001b[31mno\u001b[39m';
  test.each([
    ['on a terminal', terminal({ isTerminal: true }), coloured],
    ['in a file', terminal(), 'no'],
    ['where NO_COLOR is set', terminal({ isTerminal: true, environment: { NO_COLOR: '1' } }), 'no'],
    ['where NO_COLOR is empty', terminal({ isTerminal: true, environment: { NO_COLOR: '' } }), coloured],
    ['on a dumb terminal', terminal({ isTerminal: true, environment: { TERM: 'dumb' } }), 'no'],
  ])('%s', (_name, where, shown) => expect(emphasize(where, 'red', 'no')).toBe(shown));
});

describe('progress', () => {
  test('is drawn in one line of a terminal and wiped at the end', () => {
    const where = terminal({ isTerminal: true });
    const progress = createProgress(where);
    progress.at('users', 50, 100);
    progress.at('users', 100, 100);
    progress[Symbol.dispose]();
    expect(where.errors[0]).toMatch(/users .* 50 % of 100$/);
    expect(where.errors.at(-1)).toBe('\r\u001b[2K');
    expect(where.errors.join('')).not.toContain('\n');
  });

  test('is not written into a file', () => {
    const where = terminal();
    const progress = createProgress(where);
    progress.at('users', 1, 2);
    progress[Symbol.dispose]();
    expect(where.errors).toEqual([]);
  });

  test('of nothing is complete', () => {
    const where = terminal({ isTerminal: true });
    createProgress(where).at('users', 0, 0);
    expect(where.errors[0]).toContain('100 %');
  });
});

describe('on a terminal that is too narrow for a table', () => {
  const narrow = {
    ...terminal({ environment: { NO_COLOR: '1' } }),
    screen: { ...terminal().screen, output: true, columns: 20 },
  };

  test('each row is a paragraph, without what is empty', async () => {
    const rows = [
      ['alice', 'alice@example.com', ''],
      ['bob', 'bob@example.com', 'pending'],
    ];
    expect(await asTable(narrow, ['user', 'e-mail', 'why'], rows)).toBe(
      'USER    alice\nE-MAIL  alice@example.com\n\nUSER    bob\nE-MAIL  bob@example.com\nWHY     pending\n',
    );
  });

  test('a table whose last column can break stays one', async () => {
    expect(await asTable(narrow, ['id', 'why'], [['acme', 'a reason of many words']])).toMatch(
      /^ID {4}WHY\nacme {2}a reason/,
    );
  });

  test('and in a pipe a table is one, whatever its width', async () => {
    const pipe = { ...narrow, screen: { ...narrow.screen, output: false } };
    expect(await asTable(pipe, ['user', 'e-mail'], [['alice', 'alice@example.com']])).toMatch(/^USER/);
  });
});

test('JSON has an element of a list in a line, in every command', () => {
  expect(asJson({ a: 1, rows: [{ x: 1, y: ['b'] }, 'c'], none: [], at: { z: null }, absent: undefined })).toBe(
    '{\n  "a": 1,\n  "rows": [\n    {"x":1,"y":["b"]},\n    "c"\n  ],\n  "none": [],\n  "at": {\n    "z": null\n  }\n}\n',
  );
});

describe('what a command reports', () => {
  const table = { title: 'Members', columns: ['id', 'e-mail'], rows: [['=ann', null]] };
  const record = { id: 'acme' };
  const parts = [[['organization', 'acme'] as const], '', table, 'See `modelgate init`.'];
  const printed = async (words: { json?: boolean; csv?: boolean }, more = {}) => {
    const where = terminal();
    const code = await print(where, words, { record, parts, ...more });
    return { code, text: where.written.join(''), errors: where.errors };
  };

  test('is text part by part, with commands on lines of their own', async () =>
    expect(await printed({})).toEqual({
      code: 0,
      text: 'organization  acme\n\nMembers\nID\n=ann\n\nSee\n  modelgate init\n',
      errors: [],
    }));

  test('is its record as JSON, or its tables as CSV', async () => {
    expect((await printed({ json: true })).text).toBe(asJson(record));
    expect((await printed({ csv: true })).text).toBe("id,e-mail\r\n'=ann,\r\n");
    expect((await printed({ csv: true }, { parts: [table, 'and', table] })).text).toBe(
      "id,e-mail\r\n'=ann,\r\n\r\nid,e-mail\r\n'=ann,\r\n",
    );
  });

  test('ends with notes on standard error, and its code', async () =>
    expect(await printed({ json: true }, { notes: ['One.', 'Two.'], failed: true })).toMatchObject({
      code: 1,
      errors: ['modelgate: One.\n', 'modelgate: Two.\n'],
    }));
});
