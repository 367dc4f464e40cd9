#!/usr/bin/env node
/**
 * The edge of the process: words, environment, streams, signals and its end. Nothing else touches them, and nothing
 * else ends the process.
 */
import { enableCompileCache } from 'node:module';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import type { BugReport } from './cli/terminal.ts';

// Half of a start is reading TypeScript. What was read is kept beside the libraries, and not where Node would, in a
// folder for temporary files that others may write to. Where it cannot be kept, nothing but time is lost.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/modelgate', import.meta.url)));
const [{ runCommandLine }, { StopSignal, stoppedBy }, { invocationOf }] = await Promise.all([
  import('./cli/program.ts'),
  import('./cli/terminal.ts'),
  import('./cli/terminal.ts'),
]);

const stopping = new AbortController();
let reportBug: BugReport | undefined;
let hangUp: (() => void) | undefined;

/** npm passes Ctrl-C on to a process that the terminal has told already: within this time two are one. */
const ECHO_MS = 500;
let stoppedAt = 0;
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (signal === 'SIGHUP' && hangUp !== undefined) return void hangUp();
    // whoever asks twice does not want to wait for the end of what runs
    if (stopping.signal.aborted && performance.now() - stoppedAt > ECHO_MS) process.exit(1);
    if (!stopping.signal.aborted) stoppedAt = performance.now();
    stopping.abort(new StopSignal(signal));
  });
}
for (const stream of [process.stdout, process.stderr]) {
  // `modelgate … | head`: nobody reads any more, and that is no failure of ours
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
    // asked of the descriptors: to touch standard input is to open it
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
const stopped = new Promise<number>((resolve) => {
  stopping.signal.addEventListener('abort', () => resolve(stoppedBy(stopping.signal).exitCode));
});
// a pipe takes what it can hold, and the end of the process would drop the rest of a long list; after Ctrl-C nobody
// waits for whoever does not read it
const everything = Promise.all([...(isCut ? [] : [written(process.stdout)]), written(process.stderr)]);
process.exit(await Promise.race([everything.then(() => exitCode), stopped]));
