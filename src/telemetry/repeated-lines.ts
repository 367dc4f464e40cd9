/**
 * Lines that somebody outside can cause as often as he likes. The first of a kind is written at once; those of the
 * minute after it are counted, and told in one line when it is over.
 */
const MINUTE_MS = 60_000;
/** What is more than this many kinds in a minute counts as one kind. */
const MOST_KINDS = 64;
const OTHERS = 'others';

type Fields = Readonly<Record<string, unknown>>;

/** @returns a function that writes, or counts, a line of this kind; its timers keep no process alive */
export function createRepeatedLines(): (kind: string, write: (more: Fields) => void) => void {
  const counted = new Map<string, { times: number; write: (more: Fields) => void }>();
  const begin = (kind: string, write: (more: Fields) => void): void => {
    counted.set(kind, { times: 0, write });
    setTimeout(() => end(kind), MINUTE_MS).unref();
  };
  const end = (kind: string): void => {
    const { times = 0, write } = counted.get(kind) ?? {};
    counted.delete(kind);
    if (times === 0 || write === undefined) return;
    write({ times });
    begin(kind, write);
  };
  return (wanted, write) => {
    const kind = counted.size < MOST_KINDS || counted.has(wanted) ? wanted : OTHERS;
    const known = counted.get(kind);
    if (known === undefined) {
      write({});
      begin(kind, write);
    } else {
      known.times += 1;
      known.write = write;
    }
  };
}
