/** Closes what a test of the transport opened, the last thing first. */
import { onTestFinished } from 'vitest';
import { type RawConnection, openConnection } from './raw-connection.ts';
import { type Relay, type RelayOptions, startRelay } from './relay.ts';

interface Closable {
  close(): Promise<void> | void;
}

/** Where no upstream ever listens: a port that was given back is soon that of another test. */
export const NOTHING_THERE = { origin: 'http://127.0.0.1:9', close: () => undefined };

/** Closes it when the running test ends. */
export function closing<T extends Closable>(opened: T): T {
  onTestFinished(async () => {
    await opened.close();
  });
  return opened;
}

/** A relay in front of `upstream`; both are closed when the running test ends. */
export async function relayTo(
  upstream: Closable & { readonly origin: string },
  options: Partial<RelayOptions> = {},
): Promise<Relay> {
  closing(upstream);
  return closing(await startRelay({ upstream: upstream.origin, ...options }));
}

/** @param bytes what it sends at once */
export async function connectTo(relay: { readonly port: number }, bytes?: string | Buffer): Promise<RawConnection> {
  return closing(await openConnection(relay.port, bytes));
}
