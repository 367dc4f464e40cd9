import fc from 'fast-check';
import type { Peer } from '../../src/transport/client.ts';
import { util } from 'undici';
import { expect, test } from 'vitest';
import { connectionOptions, responseLines, rewrittenLines } from '../../src/transport/headers.ts';
import { type RequestFacts, linesOf } from '../support/gate/request-lines.ts';

const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
];
const REQUEST_ONLY = ['expect', 'x_forwarded_for'];
const ORDINARY = ['x-a', 'x-b', 'X-C', 'cookie', 'Set-Cookie', 'authorization', 'content-type', 'accept', 'etag'];
const FORWARDING = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-real-ip', 'forwarded', 'via'];

const name = fc
  .constantFrom(...HOP_BY_HOP, ...REQUEST_ONLY, ...ORDINARY, ...FORWARDING, 'x-request-id', 'content-length', 'host')
  .chain((lower) =>
    fc.constantFrom(
      lower,
      lower.toUpperCase(),
      lower.replace(/^./, (first) => first.toUpperCase()),
    ),
  );
const value = fc.oneof(
  fc.constantFrom('', 'close', 'keep-alive', 'x-a', 'X-B, cookie', 'close, ,x-c', '1.1 other', '5'),
  fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 20 }),
);
const lines = fc.array(fc.tuple(name, value), { maxLength: 30 }).map((pairs) => pairs.flat());

const facts: fc.Arbitrary<Omit<RequestFacts, 'rawHeaders' | 'peer'> & { peer: Peer }> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'OPTIONS'),
  httpVersion: fc.constantFrom('1.0', '1.1'),
  peer: fc.record({
    address: fc.constantFrom('9.9.9.9', 'fd00::1'),
    trusted: fc.boolean(),
    encrypted: fc.boolean(),
  }),
  edit: fc.constantFrom(
    { remove: new Set<string>(), add: [] },
    { remove: new Set(['cookie', 'authorization']), add: ['authorization', 'Bearer judged'] },
  ),
  via: fc.constant('gate-under-test'),
  streamed: fc.boolean(),
  rewritten: fc.boolean(),
});

const namesOf = (list: readonly string[]) =>
  list.filter((_part, index) => index % 2 === 0).map((part) => part.toLowerCase());
const valuesOf = (list: readonly string[], wanted: string) =>
  list.filter((_part, index) => index % 2 === 1 && list[index - 1]?.toLowerCase() === wanted);

/** As `responseLines` is given them. */
const readByUndici = (list: readonly string[]) => util.parseHeaders([...list]);

/** What the `Connection` fields of `list` nominate, less the two options that are no fields. */
function nominatedIn(list: readonly string[]): Set<string> {
  const options = valuesOf(list, 'connection').flatMap(connectionOptions);
  return new Set(options.filter((option) => option !== 'close' && option !== 'keep-alive'));
}

/** The fields that the gate states by itself, nominated or not. */
const STATED = new Set([
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'forwarded',
  'via',
  'x-request-id',
  'accept-encoding',
  'authorization',
]);

test('no hop-by-hop, nominated or underscored field of a request survives', () => {
  fc.assert(
    fc.property(lines, facts, (rawHeaders, rest) => {
      const sent = namesOf(linesOf({ ...rest, rawHeaders }));
      for (const dropped of [...HOP_BY_HOP, ...REQUEST_ONLY]) expect(sent).not.toContain(dropped);
      for (const nominated of nominatedIn(rawHeaders))
        if (!STATED.has(nominated)) expect(sent).not.toContain(nominated);
    }),
  );
});

test('no hop-by-hop or nominated field of an answer survives', () => {
  fc.assert(
    fc.property(lines, fc.constantFrom(200, 204, 304, 500), (raw, status) => {
      const sent = namesOf(responseLines(readByUndici(raw), status, 'the-id'));
      for (const dropped of HOP_BY_HOP) expect(sent).not.toContain(dropped);
      for (const nominated of nominatedIn(raw)) if (nominated !== 'x-request-id') expect(sent).not.toContain(nominated);
      expect(sent.filter((one) => one === 'x-request-id')).toHaveLength(1);
    }),
  );
});

test('each field that we state is stated once', () => {
  fc.assert(
    fc.property(lines, facts, (rawHeaders, rest) => {
      const sent = linesOf({ ...rest, rawHeaders });
      for (const stated of ['x-forwarded-for', 'x-forwarded-proto', 'via', 'x-request-id']) {
        expect(valuesOf(sent, stated)).toHaveLength(1);
      }
      if (rest.edit.add.length > 0) expect(valuesOf(sent, 'authorization')).toEqual(['Bearer judged']);
    }),
  );
});

test('an untrusted peer says nothing about itself', () => {
  fc.assert(
    fc.property(lines, facts, (rawHeaders, rest) => {
      const peer = { ...rest.peer, trusted: false };
      const sent = linesOf({ ...rest, peer, rawHeaders });
      expect(valuesOf(sent, 'x-forwarded-for')).toEqual([peer.address]);
      expect(valuesOf(sent, 'x-forwarded-proto')).toEqual([peer.encrypted ? 'https' : 'http']);
      expect(valuesOf(sent, 'x-real-ip')).toEqual([]);
      expect(valuesOf(sent, 'forwarded')).toEqual([]);
    }),
  );
});

test('every other field goes through with its value: to the backend in its order and letter case, to the client in lower case', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('x-a', 'X-A', 'Cookie', 'accept'), value), { maxLength: 20 }),
      facts,
      (pairs, rest) => {
        const rawHeaders = pairs.flat();
        const edit = { remove: new Set<string>(), add: [] };
        const sent = linesOf({ ...rest, edit, rewritten: false, rawHeaders });
        expect(sent.slice(0, rawHeaders.length)).toEqual(rawHeaders);
        const answer = responseLines(readByUndici(rawHeaders), 200, 'id');
        for (const one of new Set(namesOf(rawHeaders)))
          expect(valuesOf(answer, one)).toEqual(valuesOf(rawHeaders, one));
        expect(answer).toHaveLength(rawHeaders.length + 2);
      },
    ),
  );
});

test('preparing what was prepared changes nothing (answers), nor who the client is (requests)', () => {
  fc.assert(
    fc.property(lines, facts, fc.constantFrom(200, 204, 304), (raw, rest, status) => {
      const answer = responseLines(readByUndici(raw), status, 'the-id');
      expect(responseLines(readByUndici(answer), status, 'the-id')).toEqual(answer);
      const rewritten = rewrittenLines(answer, 200, 7);
      expect(rewrittenLines(rewritten, 200, 7)).toEqual(rewritten);
      const once = linesOf({ ...rest, rawHeaders: raw, peer: { ...rest.peer, trusted: false } });
      const again = linesOf({ ...rest, rawHeaders: once, peer: { ...rest.peer, trusted: false }, via: 'next' });
      const own = (list: readonly string[]) => list.filter((_part, index) => namesOf(list)[index >> 1] !== 'via');
      expect(own(again).sort()).toEqual(own(once).sort());
    }),
  );
});
