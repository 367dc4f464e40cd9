/** The security headers of an answer, and a gate in front of a backend that sends some of its own. */
import type { RequestListener } from 'node:http';
import { expect } from 'vitest';
import { startUpstream } from '../upstream/upstreams.ts';
import { gateOfTest } from './gate.ts';
import type { RawAnswer } from './raw-connection.ts';
import { closing } from './transport.ts';

/** What an answer over plain http carries by default. */
export const EXPECTED: Record<string, string> = {
  'x-frame-options': 'SAMEORIGIN',
  'x-content-type-options': 'nosniff',
  'x-xss-protection': '1; mode=block',
  'referrer-policy': 'strict-origin-when-cross-origin',
  'permissions-policy': expect.stringContaining('microphone=(self)') as string,
  'cross-origin-resource-policy': 'same-site',
};
const SECURITY =
  /^(?:x-frame-options|x-content-type-options|x-xss-protection|referrer-policy|strict-transport-security|permissions-policy|cross-origin-.*|content-security-policy.*)$/;

/** As uvicorn and the backend answer, with what they tell about themselves. */
const answerAsBackend: RequestListener = (incoming, outgoing) => {
  outgoing.sendDate = false;
  const lines = ['date', 'Mon, 23 Nov 2026 18:00:00 GMT', 'server', 'uvicorn', 'X-Process-Time', '0.001'];
  const status = Number(/status=(\d+)/.exec(incoming.url ?? '')?.[1] ?? 200);
  const own = (incoming.headers['x-answer'] ?? '') as string;
  for (const line of own === '' ? [] : own.split('|')) {
    const colon = line.indexOf(':');
    lines.push(line.slice(0, colon), line.slice(colon + 1));
  }
  const body = status === 304 || incoming.method === 'HEAD' ? '' : '{"ok":true}';
  outgoing.writeHead(status, [...lines, 'Content-Type', 'application/json']);
  outgoing.end(body);
};

/** A whole gate in front of `backend`, until the test ends. */
export async function gateWith(settings: Record<string, string> = {}, backend = answerAsBackend) {
  const upstream = closing(await startUpstream(backend));
  const gate = await gateOfTest({ MODELGATE_UPSTREAM_URL: upstream.origin, ...settings });
  return { gate, upstream, port: gate.port };
}

/** Security headers as `name → values`, so that a doubled one shows. */
export function securityOf({ headers }: Pick<RawAnswer, 'headers'>): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = {};
  for (const [name, value] of headers) {
    if (!SECURITY.test(name)) continue;
    const before = found[name];
    found[name] = before === undefined ? value : [before, value].flat();
  }
  return found;
}
