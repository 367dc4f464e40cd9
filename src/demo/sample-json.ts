/**
 * JSON as the backend reads it (Python's `json.loads` on bytes): UTF-8, UTF-16 and UTF-32 with or without a byte order
 * mark, `NaN` and `Infinity`, the last of repeated keys. Laxer than the gate on purpose: a body that slips past the gate
 * unread must have its effect here.
 */

/** @returns undefined where Python would not read it either */
export function readLaxJson(bytes: Buffer): unknown {
  const text = decodeText(bytes).replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (token) =>
    token.startsWith('"') ? token : 'null',
  );
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Python's `json.detect_encoding`: the mark, or where the zero bytes of the first character stand. */
function decodeText(bytes: Buffer): string {
  const [a, b, c, d] = bytes;
  if (a === 0xff && b === 0xfe && !(c === 0 && d === 0)) return new TextDecoder('utf-16le').decode(bytes);
  if (a === 0xfe && b === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  if (a === 0 && b === 0) return decodeUtf32(bytes, 'readUInt32BE');
  if (b === 0 && c === 0 && d === 0) return decodeUtf32(bytes, 'readUInt32LE');
  if (a === 0xff && b === 0xfe) return decodeUtf32(bytes, 'readUInt32LE');
  if (a === 0) return new TextDecoder('utf-16be').decode(bytes);
  if (b === 0) return new TextDecoder('utf-16le').decode(bytes);
  return new TextDecoder('utf-8').decode(bytes);
}

function decodeUtf32(bytes: Buffer, read: 'readUInt32BE' | 'readUInt32LE'): string {
  let text = '';
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const point = bytes[read](at);
    if (point <= 0x10ffff && point !== 0xfeff) text += String.fromCodePoint(point);
  }
  return text;
}
