/** Tells the operator of the commonest mistake of an installation: nginx is not named among the trusted proxies. */
import type { Log } from './log.ts';

/** Anybody may send the field, from as many addresses as they have. */
const MOST_NAMED = 8;

/** @returns what is called with the address of a peer whose `X-Forwarded-For` was not believed; logs each once */
export function createDisbeliefNotice(log: Pick<Log, 'warn'>): (peer: string) => void {
  const named = new Set<string>();
  return function notice(peer) {
    if (named.size === MOST_NAMED || named.has(peer)) return;
    named.add(peer);
    log.warn(
      { peer },
      `X-Forwarded-For from ${peer} is not believed, so all of its clients count as one address: if it is your proxy, name it in MODELGATE_TRUSTED_PROXIES`,
    );
  };
}
