/** The relay as a process of its own, for what is measured on a process: it reports its memory ten times a second. */
import { startRelay } from './relay.ts';

export interface RelayReport {
  readonly port: number;
  readonly rssBytes: number;
}

const [upstream = ''] = process.argv.slice(2);
const relay = await startRelay({ upstream });
const report = (): void => {
  const message: RelayReport = { port: relay.port, rssBytes: process.memoryUsage.rss() };
  process.send?.(message);
};
process.on('disconnect', () => process.exit());
report();
setInterval(report, 100);
