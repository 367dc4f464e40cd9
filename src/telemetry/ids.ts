/** Ids of requests and of decisions, made in stock: one call for randomness serves 256 of them. */
import { randomFillSync, randomUUID } from 'node:crypto';

const STOCK = 256;

const UUID_LENGTH = 36;
let uuids = Buffer.alloc(0);
let usedUuids = 0;

/**
 * @returns a random UUID (RFC 9562 5.4) as one flat text. `randomUUID` joins its text of pieces, with which
 *   `JSON.stringify` takes three times as long over the access line
 */
export function createRequestId(): string {
  if (usedUuids === uuids.length) {
    uuids = Buffer.from(Array.from({ length: STOCK }, () => randomUUID()).join(''), 'latin1');
    usedUuids = 0;
  }
  usedUuids += UUID_LENGTH;
  return uuids.toString('latin1', usedUuids - UUID_LENGTH, usedUuids);
}

/** Crockford's base 32: no letter that is easily misheard or misread. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LETTERS = 10;
const random = Buffer.alloc(LETTERS * STOCK);
let usedRandom = random.length;

/** @returns `d-` and 50 random bits: unique among the decisions of months, and does not tell their number */
export function createDecisionId(): string {
  if (usedRandom === random.length) {
    randomFillSync(random);
    usedRandom = 0;
  }
  let id = 'd-';
  for (const end = usedRandom + LETTERS; usedRandom < end; usedRandom += 1) {
    id += ALPHABET.charAt((random[usedRandom] ?? 0) & 31);
  }
  return id;
}
