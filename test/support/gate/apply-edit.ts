import type { HeaderEdit, HeaderLines } from '../../../src/transport/exchange.ts';

/** What an edit says, done the plain way: the reference that tests hold `transport/` and `identity/` against. */
export function applyEdit(lines: HeaderLines, edit: HeaderEdit): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const [name = '', value = ''] = lines.slice(at, at + 2);
    if (!edit.remove.has(name.toLowerCase())) kept.push(name, value);
  }
  return [...kept, ...edit.add];
}
