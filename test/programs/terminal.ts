/** A command on a real terminal, which Python brings; its standard error is on it as well. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { withTimeout } from '../support/process/with-timeout.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Types its first word as soon as the command asks, and ends as the command ends. */
const SCRIPT = `import os, pty, sys
seen = b''
def read(fd):
    global seen
    data = os.read(fd, 4096)
    seen += data
    if b'[y/N]' in seen:
        seen = b''
        os.write(fd, sys.argv[1].encode())
    return data
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[2:], read)))`;

export interface OnTerminal {
  readonly code: number | null;
  readonly shown: string;
}

/** Runs `modelgate` with these words; `keys` answer its question. */
export async function onTerminal(
  words: readonly string[],
  { keys = '', environment = {} }: { readonly keys?: string; readonly environment?: Record<string, string> } = {},
): Promise<OnTerminal> {
  const child = spawn('python3', ['-c', SCRIPT, keys, process.execPath, MAIN, ...words], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  const [code] = (await withTimeout(once(child, 'close'), 30_000, 'the command on a terminal')) as [number | null];
  return { code, shown };
}
