/** The bare transport as a process: `bare-transport-main.ts UPSTREAM PORT`. */
import { startRelay } from '../support/gate/relay.ts';

const [upstream = '', port = '0'] = process.argv.slice(2);
const relay = await startRelay({ upstream, port: Number(port) });
// the list of what each exchange came to is for tests: here it would grow for ever
setInterval(() => relay.outcomes.splice(0), 100).unref();
