import { describe, expect, test } from 'vitest';
import { FirstMessageReader, closeFrame, gateFirstMessage } from '../../../src/transport/first-message.ts';

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

const read = (...chunks: Buffer[]) => {
  const reader = new FirstMessageReader(1_000);
  let message = reader.push(Buffer.alloc(0));
  for (const chunk of chunks) if (message.kind === 'incomplete') message = reader.push(chunk);
  return message;
};

describe('the first message', () => {
  test.each(['', 'hello', 'grüße 🎈', 'x'.repeat(125), 'x'.repeat(126), 'x'.repeat(1_000)])('is read whole', (text) => {
    expect(read(frame(text))).toEqual({ kind: 'message', text });
  });

  test('is read byte by byte', () => {
    const bytes = Buffer.concat([
      frame('', { opcode: 9 }),
      frame('one ', { final: false }),
      frame('two', { opcode: 0 }),
    ]);
    expect(read(...[...bytes].map((byte) => Buffer.from([byte])))).toEqual({ kind: 'message', text: 'one two' });
  });

  test('may be cut inside a character', () => {
    const bytes = Buffer.from('ü');
    expect(read(frame(bytes.subarray(0, 1), { final: false }), frame(bytes.subarray(1), { opcode: 0 }))).toEqual({
      kind: 'message',
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
    ).toEqual({ kind: 'message', text: 'one two' });
  });

  test('is incomplete as long as something is missing', () => {
    const bytes = frame('hello');
    for (let length = 0; length < bytes.length; length += 1)
      expect(read(bytes.subarray(0, length)).kind).toBe('incomplete');
  });

  test('does not come after a close', () => {
    expect(read(frame(Buffer.from([3, 232]), { opcode: 8 })).kind).toBe('closed');
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
    ['a length written too long', [frame('x', { form: 16 })]],
    ['a length written far too long', [frame('x', { form: 64 })]],
    ['too much', [frame('x'.repeat(1_001))]],
    ['too much in fragments', [frame('x'.repeat(600), { final: false }), frame('x'.repeat(600), { opcode: 0 })]],
    ['too many pings', Array.from({ length: 17 }, () => frame('', { opcode: 9 }))],
    ['bytes that are not UTF-8', [frame(Buffer.from([0xc3, 0x28]))]],
    ['a byte order mark, which is kept', [frame('\ufeffx')]],
  ])('is not read out of %s', (name, chunks) => {
    const message = read(...chunks);
    if (name.startsWith('a byte order mark')) expect(message).toEqual({ kind: 'message', text: '\ufeffx' });
    else expect(message.kind).toBe('unreadable');
  });

  test('is refused by its header, before its bytes are there', () => {
    const huge = frame('x'.repeat(70_000)).subarray(0, 14);
    expect(read(huge).kind).toBe('unreadable');
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

  test('refuses what cannot be read and lets a close pass', () => {
    expect(gateFirstMessage(() => true)(frame('x', { opcode: 2 }))).toBe('refuse');
    expect(gateFirstMessage(() => false)(frame('', { opcode: 8 }))).toBe('pass');
  });
});

test('a close frame has the code and the reason, masked towards a server', () => {
  expect(closeFrame(1008, 'no', false)).toEqual(Buffer.from([0x88, 4, 0x03, 0xf0, 0x6e, 0x6f]));
  expect(closeFrame(1008, 'no', true)).toEqual(Buffer.from([0x88, 0x84, 0, 0, 0, 0, 0x03, 0xf0, 0x6e, 0x6f]));
  expect(closeFrame(1008, 'x'.repeat(200), false)).toHaveLength(127);
});
