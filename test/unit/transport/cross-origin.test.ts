import { describe, expect, test } from 'vitest';
import { createCrossOrigin } from '../../../src/transport/security-headers.ts';

const PAGE = 'https://page.test';
const from = (origin: string | undefined, method = 'GET') => ({ method, headers: { origin } });
const any = createCrossOrigin('any', ['retry-after', 'ratelimit']);
const listed = createCrossOrigin(new Set([PAGE, 'null']), ['retry-after']);

function allowed(by: typeof any, incoming: ReturnType<typeof from> | undefined): string[] {
  const lines: string[] = [];
  by.allow(lines, incoming);
  return lines;
}

describe('an answer of ours', () => {
  const CREDENTIALS = ['access-control-allow-credentials', 'true'];

  test('names the origin that asks, where any may', () => {
    expect(allowed(any, from(PAGE))).toEqual(['vary', 'origin', 'access-control-allow-origin', PAGE, ...CREDENTIALS]);
  });

  test('names only origins of the list, compared as the backend does', () => {
    const named = ['vary', 'origin', 'access-control-allow-origin'];
    expect(allowed(listed, from(PAGE))).toEqual([...named, PAGE, ...CREDENTIALS]);
    expect(allowed(listed, from('null'))).toEqual([...named, 'null', ...CREDENTIALS]);
    for (const other of ['https://other.test', 'HTTPS://page.test', `${PAGE}:443`, `${PAGE}.evil.test`, ''])
      expect(allowed(listed, from(other))).toEqual(['vary', 'origin']);
  });

  test('says nothing of it to a request without an origin', () => {
    expect(allowed(any, from(undefined))).toEqual([]);
    expect(allowed(listed, from(undefined))).toEqual([]);
  });

  test('to what is no request can be read without credentials, where any origin may', () => {
    expect(allowed(any, undefined)).toEqual([
      'access-control-allow-origin',
      '*',
      'access-control-expose-headers',
      'retry-after, ratelimit',
    ]);
    expect(allowed(listed, undefined)).toEqual([]);
  });
});

describe('the fields that a page may read', () => {
  const edited = (lines: string[], incoming = from(PAGE)): string[] => {
    for (const edit of any.edits(incoming)) edit(lines, 200);
    return lines;
  };

  test('are added where the answer may be read', () => {
    expect(edited(['access-control-allow-origin', '*'])).toEqual([
      'access-control-allow-origin',
      '*',
      'access-control-expose-headers',
      'retry-after, ratelimit',
    ]);
  });

  test('stand beside those of the backend, in one line', () => {
    const lines = ['access-control-expose-headers', 'x-a', 'access-control-allow-origin', PAGE, 'x-a', 'b'];
    expect(edited(lines)).toEqual([
      'access-control-expose-headers',
      'x-a, retry-after, ratelimit',
      'access-control-allow-origin',
      PAGE,
      'x-a',
      'b',
    ]);
  });

  test('are not added where the backend lets no origin read the answer, nor to a preflight', () => {
    expect(edited(['x-a', 'b'])).toEqual(['x-a', 'b']);
    for (const incoming of [from(PAGE, 'OPTIONS'), from(undefined)])
      expect(edited(['access-control-allow-origin', '*'], incoming)).toEqual(['access-control-allow-origin', '*']);
  });
});
