/** Prometheus' text (0.0.4): prom-client checks labels at every addition, and took 7 ms to write 3,000 rows. */
interface Row {
  readonly head: string;
  value: number;
}

function figureText(name: string, type: string, help: string, rows: Iterable<Row>): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  for (const { head, value } of rows) text += `${head}${value}\n`;
  return text;
}

/** A counter that costs a map lookup; after `maxRows`, further rows have the first label `other`. */
export function createCounter(series: string, maxRows = Infinity) {
  const { name, labels, help } = partsOf(series);
  const rows = new Map<string, Row>();
  // ids that differ only behind the characters that are shown share a row: Prometheus takes none twice
  const shown = new Map<string, Row>();
  const rowOf = (values: readonly string[]): Row => {
    const head = rowHead(name, labels, rows.size < maxRows ? values : ['other', ...values.slice(1)]);
    const row = shown.get(head) ?? { head, value: 0 };
    shown.set(head, row);
    return row;
  };
  return {
    add(amount: number, ...values: readonly string[]): void {
      const key = values.length === 1 ? (values[0] ?? '') : values.join('\0');
      let row = rows.get(key);
      if (row === undefined) {
        row = rowOf(values);
        if (rows.size < maxRows) rows.set(key, row);
      }
      row.value += amount;
    },
    text: () => figureText(name, 'counter', help, shown.values()),
  };
}

/** A counter that is kept elsewhere and read when it is shown. */
export function readCounter(series: string, read: () => Iterable<readonly [value: number, ...labels: string[]]>) {
  const { name, labels, help } = partsOf(series);
  const rows = () => Array.from(read(), ([value, ...values]) => ({ head: rowHead(name, labels, values), value }));
  return { text: () => figureText(name, 'counter', help, rows()) };
}

/** @returns the text of a gauge; of rows whose labels are shown alike the last one counts */
export function gaugeText(series: string, values: Iterable<readonly [value: number, ...labels: string[]]>): string {
  const { name, labels, help } = partsOf(series);
  const rows = new Map<string, Row>();
  for (const [value, ...own] of values) {
    const head = rowHead(name, labels, own);
    rows.set(head, { head, value });
  }
  return figureText(name, 'gauge', help, rows.values());
}

/** A gauge that is kept elsewhere and read when it is shown. */
export const readGauge = (series: string, read: () => Parameters<typeof gaugeText>[1]) => ({
  text: () => gaugeText(series, read()),
});

/** A histogram that costs an addition. */
export function createHistogram(series: string, bounds: readonly number[]) {
  const { name, help } = partsOf(series);
  const counts = new Array<number>(bounds.length + 1).fill(0);
  const heads = [...bounds.map(String), '+Inf'].map((bound) => rowHead(`${name}_bucket`, ['le'], [bound]));
  let sum = 0;
  return {
    observe(seconds: number): void {
      let at = 0;
      while (at < bounds.length && seconds > (bounds[at] ?? Infinity)) at += 1;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += seconds;
    },
    text(): string {
      let total = 0;
      const rows = heads.map((head, at) => ({ head, value: (total += counts[at] ?? 0) }));
      rows.push({ head: `${name}_sum `, value: sum }, { head: `${name}_count `, value: total });
      return figureText(name, 'histogram', help, rows);
    },
  };
}

/** @param series `name{label,label} what it means` */
export function partsOf(series: string) {
  const [, name = '', labels = '', help = ''] = /^(\w+)(?:\{(.*?)\})? (.*)$/.exec(series) ?? [];
  return { name: `modelgate_${name}`, labels: labels.split(','), help };
}

function rowHead(name: string, labels: readonly string[], values: readonly string[]): string {
  return `${name}{${labels.map((label, index) => `${label}="${escaped(values[index] ?? '')}"`).join(',')}} `;
}

/** The database bounds neither the length of ids nor their characters. */
const LONGEST_VALUE = 200;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

function escaped(value: string): string {
  const short = value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE)}…` : value;
  return short.toWellFormed().replace(/[\\"\n]/g, (character) => ESCAPES[character] ?? character);
}

/** Seconds. */
export const LATENCY = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
export const UPSTREAM = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

const STATUS_CLASSES = ['unknown', '1xx', '2xx', '3xx', '4xx', '5xx'];

/** 499 is a client that left: no failure, so it has a class of its own. */
export const statusClass = (status: number): string =>
  status === 499 ? 'client_gone' : (STATUS_CLASSES[Math.floor(status / 100)] ?? 'unknown');
