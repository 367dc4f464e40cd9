import { describe, expect, test } from 'vitest';
import { parseStrictJson } from '../../../src/references/json.ts';

const utf16 = (text: string) => Buffer.from(text, 'utf16le');

describe('clean JSON is read', () => {
  test.each([
    ['an object', '{"model":"A"}', { model: 'A' }],
    [
      'equal keys in different objects',
      '{"a":{"k":1},"b":{"k":2},"k":[{"k":3}]}',
      { a: { k: 1 }, b: { k: 2 }, k: [{ k: 3 }] },
    ],
    ['keys and braces inside strings', '{"a":"{\\"a\\":1}","b":"\\\\"}', { a: '{"a":1}', b: '\\' }],
    ['any white space', ' \t\r\n{ "a" :\n1 , "b":2}', { a: 1, b: 2 }],
    ['a value equal to a key', '{"a":"a","b":["a","a"]}', { a: 'a', b: ['a', 'a'] }],
    ['unpaired surrogates in content, which chat pages cut out of emoji', '{"a":"\\ud83d"}', { a: '\ud83d' }],
    ['200 levels', `${'['.repeat(200)}${']'.repeat(200)}`, JSON.parse(`${'['.repeat(200)}${']'.repeat(200)}`)],
  ])('%s', (_sentence, text, expected) => {
    expect(parseStrictJson(Buffer.from(text))).toEqual(expected);
  });
});

describe('what two parsers read differently is refused', () => {
  test.each([
    ['an empty body', Buffer.alloc(0)],
    ['a byte order mark', Buffer.from('\ufeff{"model":"A"}')],
    ['UTF-16', utf16('{"model":"A"}')],
    ['UTF-16 with a byte order mark', utf16('\ufeff{"model":"A"}')],
    ['UTF-32', Buffer.from(Array.from(Buffer.from('{"a":1}'), (byte) => [byte, 0, 0, 0]).flat())],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['a repeated key', Buffer.from('{"model":"A","model":"F"}')],
    ['a repeated key in a nested object', Buffer.from('{"a":[{"b":1,"b":2}]}')],
    ['a key repeated by an escape', Buffer.from('{"model":"A","\\u006dodel":"F"}')],
    ['a repeated key after white space', Buffer.from('{"a":1,"a" \n:2}')],
    ['NaN', Buffer.from('{"a":NaN}')],
    ['Infinity', Buffer.from('{"a":-Infinity}')],
    ['a comment', Buffer.from('{"a":1/**/}')],
    ['something behind the end', Buffer.from('{"a":1} x')],
    ['201 levels', Buffer.from(`${'['.repeat(201)}${']'.repeat(201)}`)],
  ])('%s', (_sentence, body) => {
    expect(() => parseStrictJson(body)).toThrow(expect.objectContaining({ code: 'body_unreadable' }));
  });

  test('and the error quotes nothing of it', () => {
    expect.assertions(2);
    try {
      parseStrictJson(Buffer.from('{"password":"hunter2"'));
    } catch (error) {
      expect(String(error)).not.toContain('hunter2');
      expect(JSON.stringify((error as Error).cause)).not.toContain('hunter2');
    }
  });
});
