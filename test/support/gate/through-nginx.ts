/**
 * With `GATE_TEST_THROUGH=nginx` (or the path of another nginx) every gate of `startTestGate` stands behind
 * `nginx/modelgate.conf`, as in production: the security suite is the same, its clients are one hop further away.
 */
import { startEdge } from './edge.ts';

/** Empty where tests talk to the gate itself. */
export const THROUGH_NGINX = process.env['GATE_TEST_THROUGH'] ?? '';

interface Front extends AsyncDisposable {
  readonly url: string;
}

/**
 * Without TLS: half of the suite sends bytes that no TLS client would, and what nginx does with a request begins after
 * it. With room for the suite's own speed, which is a flood.
 */
export async function startFront(gate: string): Promise<Front> {
  if (THROUGH_NGINX === '') return { url: gate, [Symbol.asyncDispose]: () => Promise.resolve() };
  return startEdge({ gate, binary: THROUGH_NGINX, withoutTls: true, replace: [['rate=100r/s', 'rate=100000r/m']] });
}

/** As the README says for nginx in front. */
export function frontSettings(): Record<string, string> {
  return THROUGH_NGINX === '' ? {} : { MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' };
}

/** Whatever is otherwise one hop further away; all that the scenarios expect otherwise stands here. */
export const AT_THE_EDGE =
  THROUGH_NGINX === ''
    ? { server: [], unknownCoding: 400, addressesToldApart: true, absoluteForm: 'refused' }
    : {
        // its own line, without a version
        server: ['nginx'],
        // RFC 9112 6.1: nginx says so itself, and nothing arrives
        unknownCoding: 501,
        // a client cannot play the trusted proxy: nginx writes down whom it sees
        addressesToldApart: false,
        // RFC 9112 3.2.2: nginx takes the path out of it, and the gate judges that
        absoluteForm: 'judged',
      };
