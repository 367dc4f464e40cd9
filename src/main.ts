#!/usr/bin/env node
/** The edge of the process: only this file touches its arguments, environment, streams and signals, and ends it. */
import { once } from 'node:events';
import { enableCompileCache } from 'node:module';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import type { BugReport } from './cli/terminal.ts';

// Half of a start is reading TypeScript. Node's own place for the cache may be written to by others.
const compiled = fileURLToPath(new URL('../node_modules/.cache/modelgate', import.meta.url));
enableCompileCache(compiled);
// threads look for it here alone
process.env['NODE_COMPILE_CACHE'] ??= compiled;
const [{ runCommandLine }, { StopSignal, stoppedBy, invocationOf }] = await Promise.all([
  import('./cli/program.ts'),
  import('./cli/terminal.ts'),
]);

const stopping = new AbortController();
let reportBug: BugReport | undefined;
let hangUp: (() => void) | undefined;

/** npm passes Ctrl-C on to a process that has had it from the terminal: two signals within this time are one. */
const ECHO_MS = 500;
let stoppedAt = 0;
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (signal === 'SIGHUP' && hangUp !== undefined) return void hangUp();
    // a second Ctrl-C does not wait for the end of what runs
    if (stopping.signal.aborted && performance.now() - stoppedAt > ECHO_MS) process.exit(1);
    if (!stopping.signal.aborted) stoppedAt = performance.now();
    stopping.abort(new StopSignal(signal));
  });
}
for (const stream of [process.stdout, process.stderr]) {
  // `modelgate … | head`: the reader has gone, which is no failure
  stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
}
process.on('unhandledRejection', (error) => {
  if (reportBug === undefined) throw error;
  void reportBug(error, false);
});
process.on('uncaughtException', (error) => {
  if (reportBug === undefined) process.stderr.write(`modelgate: ${error.message}\n`);
  void Promise.resolve(reportBug?.(error, true)).then(() => process.exit(1));
});

const exitCode = await runCommandLine(process.argv.slice(2), {
  environment: process.env,
  directory: process.cwd(),
  screen: {
    // of the descriptors, because reading `process.stdin` opens it
    input: isatty(0),
    output: isatty(1),
    error: isatty(2),
    columns: process.stdout.columns || process.stderr.columns || 80,
  },
  input: () => process.stdin,
  write: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
  stop: stopping.signal,
  onHangUp: (action) => (hangUp = action),
  onBug: (report) => (reportBug = report),
  given: { invocation: invocationOf(process.argv[1] ?? '', process.env['npm_command']), options: '' },
});
const isCut = stopping.signal.aborted && exitCode !== 0;
const written = (stream: NodeJS.WriteStream): Promise<unknown> =>
  stream.writableLength === 0 ? Promise.resolve() : new Promise((resolve) => void stream.write('', resolve));
const stopped = once(stopping.signal, 'abort').then(() => stoppedBy(stopping.signal).exitCode);
// the end of the process would drop the rest of a long list; after Ctrl-C a slow reader is not waited for
const everything = Promise.all([...(isCut ? [] : [written(process.stdout)]), written(process.stderr)]);
process.exit(await Promise.race([everything.then(() => exitCode), stopped]));
