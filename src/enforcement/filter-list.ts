/**
 * Cuts out of a list answer what its reader may not use. The same `permits` that guards invoking decides here, so that
 * what is listed is exactly what can be used.
 */
import type { ModelId } from '../policy/grant.ts';
import type { Entry, EntryList, ListIndex, NamedSpan } from './list-index.ts';

export type Permits = (model: ModelId) => boolean;

export interface FilteredList {
  readonly body: Buffer;
  readonly kept: number;
  readonly removed: number;
}

/** @param body the bytes that `index` was made of; never written to */
export function filterList(body: Buffer, index: ListIndex, permits: Permits): FilteredList {
  const edits: Edit[] = [...nested(index, permits)];
  let kept = 0;
  let removed = 0;
  for (const list of index.lists) {
    const stay = list.entries.filter((entry) => isPermitted(entry, permits));
    kept += stay.length;
    removed += list.entries.length - stay.length;
    // one by one: a list may be longer than the arguments of a call
    for (const entry of stay) for (const edit of nested(entry, permits)) edits.push(edit);
    for (const edit of gaps(list, stay)) edits.push(edit);
  }
  for (const span of index.csv) {
    const ids = span.text.split(',').filter((id) => permits(id.trim() as ModelId));
    edits.push({ ...span, text: JSON.stringify(ids.join(',')) });
  }
  for (const span of index.totals) edits.push({ ...span, text: String(Math.max(0, span.value - removed)) });
  return { body: apply(body, edits), kept, removed };
}

/** What is named inside of an entry that stays, or beside the list. */
function nested({ references, names }: Pick<Entry, 'references' | 'names'>, permits: Permits): Edit[] {
  const lists = names.flatMap((list) =>
    gaps(
      list,
      list.entries.filter((entry) => isPermitted(entry, permits)),
    ),
  );
  return [...references.flatMap((span) => redact(span, permits)), ...lists];
}

/** No user can use an entry without a readable id. */
function isPermitted(entry: Entry, permits: Permits): boolean {
  if (!entry.isModel) return true;
  return entry.ids.length > 0 && entry.ids.every(({ id }) => id !== undefined && permits(id));
}

function redact(span: NamedSpan, permits: Permits): Edit[] {
  return span.id !== undefined && permits(span.id) ? [] : [{ start: span.start, end: span.end, text: 'null' }];
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** The stretches between the entries that stay, each replaced by the comma that belongs there. */
function gaps({ start, end, entries: all }: EntryList, stay: readonly Entry[]): Edit[] {
  if (all.length === stay.length) return [];
  if (stay.length === 0) return [{ start, end, text: '' }];
  const edits: Edit[] = [];
  let from = start;
  stay.forEach((entry, position) => {
    if (entry.start > from) edits.push({ start: from, end: entry.start, text: position === 0 ? '' : ',' });
    from = entry.end;
  });
  if (from < end) edits.push({ start: from, end, text: '' });
  return edits;
}

function apply(body: Buffer, edits: Edit[]): Buffer {
  if (edits.length === 0) return body;
  edits.sort((one, other) => one.start - other.start);
  const parts: Buffer[] = [];
  let from = 0;
  for (const edit of edits) {
    parts.push(body.subarray(from, edit.start));
    if (edit.text !== '') parts.push(Buffer.from(edit.text));
    from = edit.end;
  }
  parts.push(body.subarray(from));
  return Buffer.concat(parts);
}
