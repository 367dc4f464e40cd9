/** The credential with which a command asks the backend: from a file or standard input, never from the command line. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { failureCode } from '../../store/database.ts';
import { printable } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { CommandFailure, EXIT } from '../terminal.ts';

const LONGEST = 16_384;

/**
 * @param file `-` reads standard input to its end
 * @throws CommandFailure where there is none, or no credential in it; its text is in no sentence
 */
export async function readCredential(terminal: Terminal, file: string): Promise<string> {
  const from = file === '-' ? 'Standard input' : `The file ${printable(file, false)}`;
  const text = await (file === '-' ? readInput(terminal) : readNamed(terminal, file, from));
  const credential = text.trim().replace(/^Bearer +/i, '');
  // what a header field can carry (RFC 6750 section 2.1)
  if (!/^[\w.~+/=-]+$/.test(credential)) {
    throw new CommandFailure(
      `${from} ${credential === '' ? 'is empty' : 'holds something else'}: one line with an API key (sk-…) or the token of a session is expected, of an admin.`,
      EXIT.misused,
    );
  }
  return credential;
}

async function readInput({ input }: Terminal): Promise<string> {
  let text = '';
  for await (const chunk of input().setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > LONGEST) break;
  }
  return text;
}

async function readNamed({ directory }: Terminal, file: string, from: string): Promise<string> {
  try {
    const text = await readFile(resolve(directory, file), 'utf8');
    return text.length > LONGEST ? '\0' : text;
  } catch (error) {
    const code = failureCode(error);
    const what = code === 'ENOENT' ? 'is not there' : code === 'EACCES' ? 'may not be read' : 'cannot be read';
    throw new CommandFailure(`${from} ${what} (${code}).`, EXIT.misused, { cause: error });
  }
}
