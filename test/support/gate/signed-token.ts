/** Tokens with any bytes for header and payload, signed as the backend's secret signs. */
import { createHmac } from 'node:crypto';
import { TEST_SECRET } from './session.ts';

export const segmentOf = (text: string | Buffer): string => Buffer.from(text).toString('base64url');

export function signSegments(header: string, payload: string, secretKey = TEST_SECRET): string {
  const input = `${header}.${payload}`;
  return `${input}.${createHmac('sha256', secretKey).update(input).digest('base64url')}`;
}

/** @param header and payload: JSON, or whatever else stands there */
export const signToken = (header: string | Buffer, payload: string | Buffer): string =>
  signSegments(segmentOf(header), segmentOf(payload));
