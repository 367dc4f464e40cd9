/** Answers that the gate gives by itself. */
import { STATUS_CODES } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { HeaderLines } from './exchange.ts';
import { closeAfterAnswer, closeIfUnread } from './linger.ts';

/**
 * Sends a complete answer, JSON unless `headers` say otherwise. Never throws: a client that has left, or an answer
 * already begun, makes it a no-op.
 *
 * @param body for HEAD only its length is sent
 * @returns whether the answer was sent
 */
export function sendAnswer(
  outgoing: ServerResponse,
  status: number,
  headers: HeaderLines,
  body: string | Buffer,
): boolean {
  if (outgoing.headersSent || outgoing.destroyed || outgoing.writableEnded) return false;
  // 9110 15.5.9: what comes after a request that did not arrive in time cannot be told from its rest.
  if (status === 408) closeAfterAnswer(outgoing.req, outgoing);
  else closeIfUnread(outgoing.req, outgoing);
  const lines = [...headers];
  if (!hasField(headers, 'content-type')) lines.push('content-type', 'application/json');
  if (status !== 204 && status !== 304) lines.push('content-length', String(Buffer.byteLength(body)));
  outgoing.writeHead(status, lines);
  outgoing.end(body);
  return true;
}

/** The same as bytes, for a connection that Node has no response object for (broken requests, upgrades, CONNECT). */
export function rawAnswer(status: number, headers: HeaderLines, body: string): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  if (!hasField(headers, 'content-type')) head += 'content-type: application/json\r\n';
  return `${head}date: ${new Date().toUTCString()}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
}

/** Refuses an upgrade: the answer, then the end of the connection. Never throws. */
export function refuseUpgrade(socket: Duplex, status: number, headers: HeaderLines, body: string): void {
  if (socket.destroyed || !socket.writable) return;
  // Once the bytes are out there is nothing to wait for: an upgrade request has no body.
  socket.end(rawAnswer(status, headers, body), () => socket.destroy());
}

function hasField(lines: HeaderLines, name: string): boolean {
  for (let index = 0; index < lines.length; index += 2) if (lines[index]?.toLowerCase() === name) return true;
  return false;
}
