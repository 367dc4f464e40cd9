import { describe, expect, test } from 'vitest';
import { gateFirstMessage } from '../../../src/transport/tunnel.ts';

interface FrameParts {
  readonly opcode?: number;
  readonly final?: boolean;
  readonly reserved?: number;
  readonly masked?: boolean;
  readonly form?: 7 | 16 | 64;
}

function frame(payload: string | Buffer, parts: FrameParts = {}): Buffer {
  const { opcode = 1, final = true, reserved = 0, masked = true } = parts;
  const body = Buffer.from(payload);
  const form = parts.form ?? (body.length < 126 ? 7 : body.length < 65_536 ? 16 : 64);
  const length = Buffer.alloc(form === 7 ? 1 : form === 16 ? 3 : 9);
  length[0] = (masked ? 0x80 : 0) | (form === 7 ? body.length : form === 16 ? 126 : 127);
  if (form === 16) length.writeUInt16BE(body.length, 1);
  if (form === 64) length.writeBigUInt64BE(BigInt(body.length), 1);
  const mask = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0);
  const data = masked ? body.map((byte, index) => byte ^ (mask[index % 4] ?? 0)) : body;
  return Buffer.concat([Buffer.from([(final ? 0x80 : 0) | (reserved << 4) | opcode]), length, mask, data]);
}

type Outcome = { readonly text: string } | 'closed' | 'unreadable' | 'incomplete';

/** What a gate takes these chunks for, at most 1,000 bytes of text being allowed. */
function read(...chunks: Buffer[]): Outcome {
  let text: string | undefined;
  const gate = gateFirstMessage((message) => {
    text = message;
    return true;
  }, 1_000);
  for (const chunk of [Buffer.alloc(0), ...chunks]) {
    const verdict = gate(chunk);
    if (verdict === 'more') continue;
    if (verdict === 'refuse') return 'unreadable';
    return text === undefined ? 'closed' : { text };
  }
  return 'incomplete';
}

describe('the first message', () => {
  test.each(['', 'hello', 'grüße 🎈', 'x'.repeat(125), 'x'.repeat(126), 'x'.repeat(1_000)])('is read whole', (text) => {
    expect(read(frame(text))).toEqual({ text });
  });

  test('is read byte by byte', () => {
    const bytes = Buffer.concat([
      frame('', { opcode: 9 }),
      frame('one ', { final: false }),
      frame('two', { opcode: 0 }),
    ]);
    expect(read(...[...bytes].map((byte) => Buffer.from([byte])))).toEqual({ text: 'one two' });
  });

  test('may be cut inside a character', () => {
    const bytes = Buffer.from('ü');
    expect(read(frame(bytes.subarray(0, 1), { final: false }), frame(bytes.subarray(1), { opcode: 0 }))).toEqual({
      text: 'ü',
    });
  });

  test('may come after pings and pongs, also between its fragments', () => {
    expect(
      read(
        frame('a', { opcode: 9 }),
        frame('b', { opcode: 10 }),
        frame('one ', { final: false }),
        frame('c', { opcode: 9 }),
        frame('two', { opcode: 0 }),
      ),
    ).toEqual({ text: 'one two' });
  });

  test('is incomplete as long as something is missing', () => {
    const bytes = frame('hello');
    for (let length = 0; length < bytes.length; length += 1) expect(read(bytes.subarray(0, length))).toBe('incomplete');
  });

  test('does not come after a close', () => {
    expect(read(frame(Buffer.from([3, 232]), { opcode: 8 }))).toBe('closed');
  });

  test.each([
    ['an extension', [frame('x', { reserved: 4 })]],
    ['an unmasked frame', [frame('x', { masked: false })]],
    ['a binary message', [frame('x', { opcode: 2 })]],
    ['a continuation of nothing', [frame('x', { opcode: 0 })]],
    ['a text inside a text', [frame('x', { final: false }), frame('y')]],
    ['a reserved kind', [frame('x', { opcode: 3 })]],
    ['a reserved control kind', [frame('x', { opcode: 11 })]],
    ['a fragmented ping', [frame('x', { opcode: 9, final: false })]],
    ['a long ping', [frame('x'.repeat(126), { opcode: 9 })]],
    ['too much', [frame('x'.repeat(1_001))]],
    ['too much in fragments', [frame('x'.repeat(600), { final: false }), frame('x'.repeat(600), { opcode: 0 })]],
    ['too many pings', Array.from({ length: 17 }, () => frame('', { opcode: 9 }))],
    [
      'too many fragments',
      [frame('', { final: false }), ...Array.from({ length: 1_000 }, () => frame('', { opcode: 0, final: false }))],
    ],
    ['bytes that are not UTF-8', [frame(Buffer.from([0xc3, 0x28]))]],
  ])('is not read out of %s', (_name, chunks) => {
    expect(read(...chunks)).toBe('unreadable');
  });

  test('keeps a byte order mark', () => {
    expect(read(frame('\ufeffx'))).toEqual({ text: '\ufeffx' });
  });

  test.each([16, 64] as const)('may have a length that is written in %i bits without need', (form) => {
    expect(read(frame('x', { form }))).toEqual({ text: 'x' });
  });

  test('is refused by its header, before its bytes are there', () => {
    const huge = frame('x'.repeat(70_000)).subarray(0, 14);
    expect(read(huge)).toBe('unreadable');
  });
});

describe('a gate on the first message', () => {
  test('wants more, then says what the judge says', async () => {
    const bytes = frame('hello');
    for (const permitted of [true, false]) {
      const gate = gateFirstMessage(() => permitted);
      expect(gate(bytes.subarray(0, 4))).toBe('more');
      expect(gate(bytes.subarray(4))).toBe(permitted ? 'pass' : 'refuse');
      const slow = gateFirstMessage(() => Promise.resolve(permitted));
      expect(await slow(bytes)).toBe(permitted ? 'pass' : 'refuse');
    }
  });

  test('leaves the bytes that it reads as they came', () => {
    const bytes = frame('hello');
    expect(gateFirstMessage(() => true)(bytes)).toBe('pass');
    expect(bytes).toEqual(frame('hello'));
  });

  test('is not troubled by what comes behind the first message', () => {
    const judged: string[] = [];
    const gate = gateFirstMessage((text) => judged.push(text) > 0);
    expect(gate(Buffer.concat([frame('hello'), frame('again'), frame('x', { opcode: 2, masked: false })]))).toBe(
      'pass',
    );
    expect(judged).toEqual(['hello']);
  });

  test('refuses what cannot be read and lets a close pass', () => {
    expect(gateFirstMessage(() => true)(frame('x', { opcode: 2 }))).toBe('refuse');
    expect(gateFirstMessage(() => false)(frame('', { opcode: 8 }))).toBe('pass');
  });
});
