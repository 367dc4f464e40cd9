/**
 * Commands that a sentence advises, between backticks: nothing else that begins so stands between them, because
 * `quoted` and `shellCommand` escape the backticks of others. Each is completed with what this command was given, so that
 * it works where it is pasted.
 */
import { basename, relative } from 'node:path';
import { shellCommand } from '../operations/shell-words.ts';

/** How the command that runs was called. */
export interface Given {
  /** Such as `npx modelgate`. */
  readonly invocation: string;
  /** Options that an advised command needs too, such as ` --database data/webui.db`; empty where there are none. */
  readonly options: string;
}

/** @param npmCommand `npm_command`, npm's word for what it does @returns how to call this program again from the same place */
export function invocationOf(script: string, npmCommand: string | undefined): string {
  if (npmCommand === 'exec') return 'npx modelgate';
  return basename(script) === 'modelgate' ? 'modelgate' : shellCommand('node', relative('', script));
}

const COMMAND = /`((?:modelgate|chmod|mkdir) [^`]+)`/g;
/** What would stick to the end of a command. */
const BEHIND = /^[.,;:]? *\n?/;

/** @returns each command on a line of its own, with nothing behind it; the text around it in lines between */
export function laidOut(text: string, given: Given): string {
  let [lines, rest] = ['', text];
  for (const { 0: marked, 1: command = '' } of text.matchAll(COMMAND)) {
    const at = rest.indexOf(marked);
    lines += rest.slice(0, at).trimEnd();
    if (lines !== '' && !lines.endsWith('\n')) lines += '\n';
    lines += `  ${completed(command, given)}\n`;
    rest = rest.slice(at + marked.length).replace(BEHIND, '');
  }
  return rest === '' && !text.endsWith('\n') ? lines.replace(/\n$/, '') : lines + rest;
}

/** @returns the text in one line as it was, for JSON; each command completed */
export const inPlace = (text: string, given: Given): string =>
  text.replace(COMMAND, (_, command: string) => `\`${completed(command, given)}\``);

/** @returns the commands alone, for JSON */
export const commandsIn = (text: string, given: Given): readonly string[] =>
  [...text.matchAll(COMMAND)].map(({ 1: command = '' }) => completed(command, given));

function completed(command: string, { invocation, options }: Given): string {
  const words = /^modelgate (.+)$/s.exec(command)?.[1];
  return words === undefined ? command : `${invocation} ${words}${options}`;
}
