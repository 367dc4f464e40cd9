/**
 * Counters and histograms of the hot path: plain numbers while requests are served, the text of Prometheus (exposition
 * format 0.0.4) when it is asked for. prom-client's own build and check a label object at every addition, and took 7 ms
 * to write 3,000 rows; here a row's text up to its number is made once.
 */

/** One metric, as Prometheus reads it. */
export interface Figure {
  /** @returns help, type and rows, ending in a newline */
  text(): string;
}

export interface Tally extends Figure {
  add(amount: number, ...values: readonly string[]): void;
}

export interface TallyOptions {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Most rows; what comes later is added to rows whose first label says `other`. */
  readonly maxRows?: number;
}

interface Row {
  readonly head: string;
  value: number;
}

/** @returns a counter that costs a map lookup */
export function createTally({ name, help, labels, maxRows = Infinity }: TallyOptions): Tally {
  const rows = new Map<string, Row>();
  // ids that differ only behind the characters that are shown share a row: Prometheus takes none twice
  const shown = new Map<string, Row>();
  const rowOf = (values: readonly string[]): Row => {
    const head = rowHead(name, labels, rows.size < maxRows ? values : [OTHER, ...values.slice(1)]);
    const row = shown.get(head) ?? { head, value: 0 };
    shown.set(head, row);
    return row;
  };
  return {
    add(amount, ...values) {
      const key = values.length === 1 ? (values[0] ?? '') : values.join('\0');
      let row = rows.get(key);
      if (row === undefined) {
        row = rowOf(values);
        if (rows.size < maxRows) rows.set(key, row);
      }
      row.value += amount;
    },
    text() {
      let text = headOf(name, help, 'counter');
      for (const { head, value } of shown.values()) text += `${head}${value}\n`;
      return text;
    },
  };
}

const OTHER = 'other';

export interface Times extends Figure {
  observe(seconds: number): void;
}

/** @returns a histogram that costs an addition */
export function createTimes(name: string, help: string, bounds: readonly number[]): Times {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  const heads = [...bounds, Infinity].map((bound) =>
    rowHead(`${name}_bucket`, ['le'], [bound === Infinity ? '+Inf' : String(bound)]),
  );
  let sum = 0;
  return {
    observe(seconds) {
      let at = 0;
      while (at < bounds.length && seconds > (bounds[at] ?? Infinity)) at += 1;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += seconds;
    },
    text() {
      let total = 0;
      let text = headOf(name, help, 'histogram');
      for (const [at, head] of heads.entries()) text += `${head}${(total += counts[at] ?? 0)}\n`;
      return `${text}${name}_sum ${sum}\n${name}_count ${total}\n`;
    },
  };
}

/** @returns a counter that somebody else keeps, asked when it is to be shown */
export function readTally(
  { name, help, labels }: TallyOptions,
  read: () => Iterable<readonly [values: readonly string[], value: number]>,
): Figure {
  return {
    text() {
      let text = headOf(name, help, 'counter');
      for (const [values, value] of read()) text += `${rowHead(name, labels, values)}${value}\n`;
      return text;
    },
  };
}

const headOf = (name: string, help: string, type: string): string => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;

function rowHead(name: string, labels: readonly string[], values: readonly string[]): string {
  const pairs = labels.map((label, index) => `${label}="${escaped(values[index] ?? '')}"`);
  return `${name}{${pairs.join(',')}} `;
}

/** Ids are as long, and as strange, as whoever wrote them into the database liked. */
const LONGEST_VALUE = 200;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

function escaped(value: string): string {
  const short = value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE)}…` : value;
  return short.toWellFormed().replace(/[\\"\n]/g, (character) => ESCAPES[character] ?? character);
}
