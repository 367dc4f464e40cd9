/** Draws series of Prometheus as small SVG graphs, side by side: the dashboard without Grafana. */
import type { Series } from './prometheus-process.ts';

export interface Graph {
  readonly title: string;
  /** Grafana's word: `reqps`, `cps`, `s`, `short`, `percentunit`, `bytes`. */
  readonly unit: string;
  readonly lines: readonly { readonly name: string; readonly values: Series['values'] }[];
}

const COLUMNS = 3;
const CARD = { width: 396, height: 212 };
const PLOT = { left: 52, top: 30, width: 330, height: 118 };
const HEADING = 44;
const COLOURS = ['#3274d9', '#e02f44', '#56a64b', '#f2a900', '#8f3bb8', '#1f9e9e', '#ff780a', '#7a7a7a'];
const LONGEST_NAME = 26;

/** @param from first second shown @param to last second shown */
export function drawGraphs(heading: string, graphs: readonly Graph[], from: number, to: number): string {
  const width = COLUMNS * CARD.width + 12;
  const height = HEADING + Math.ceil(graphs.length / COLUMNS) * CARD.height + 8;
  const cards = graphs.map((graph, at) => {
    const x = 8 + (at % COLUMNS) * CARD.width;
    const y = HEADING + Math.floor(at / COLUMNS) * CARD.height;
    return `<g transform="translate(${x} ${y})">${drawGraph(graph, from, to)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="11" fill="#333">`,
    `<rect width="${width}" height="${height}" fill="#f4f5f7"/>`,
    `<text x="14" y="27" font-size="15" font-weight="bold">${escaped(heading)}</text>`,
    ...cards,
    '</svg>\n',
  ].join('\n');
}

function drawGraph({ title, unit, lines }: Graph, from: number, to: number): string {
  const highest = Math.max(...lines.flatMap(({ values }) => values.map(([, value]) => finite(value))), 1e-9);
  const step = niceStep(highest / 3);
  const top = Math.ceil(highest / step - 1e-9) * step;
  const x = (seconds: number) => shortened(PLOT.left + ((seconds - from) / (to - from)) * PLOT.width);
  const y = (value: number) => shortened(PLOT.top + (1 - finite(value) / top) * PLOT.height);
  const rules = Array.from({ length: Math.round(top / step) + 1 }, (_, at) => {
    const value = at * step;
    return `<path d="M${PLOT.left} ${y(value)}h${PLOT.width}" stroke="#e3e5e8"/><text x="${PLOT.left - 6}" y="${y(value) + 4}" text-anchor="end" fill="#777">${inUnit(value, unit)}</text>`;
  });
  const minutes = Array.from({ length: Math.floor((to - from) / 60) + 1 }, (_, minute) => {
    const anchor = from + minute * 60 > to - 10 ? 'end' : 'middle';
    return `<text x="${x(from + minute * 60)}" y="${PLOT.top + PLOT.height + 14}" text-anchor="${anchor}" fill="#777">${minute} min</text>`;
  });
  const curves = lines.map(({ values }, at) => {
    return `<path d="${pathOf(values, x, y)}" fill="none" stroke="${colour(at)}" stroke-width="1.3"/>`;
  });
  return [
    `<rect x="2" y="2" width="${CARD.width - 8}" height="${CARD.height - 8}" rx="4" fill="#fff" stroke="#dcdee2"/>`,
    `<text x="12" y="20" font-weight="bold">${escaped(title)}</text>`,
    ...rules,
    ...minutes,
    ...curves,
    ...legendOf(lines.map(({ name }) => name)),
  ].join('');
}

/** A gap where there is no number: a quantile while nothing was observed. */
function pathOf(values: Series['values'], x: (seconds: number) => number, y: (value: number) => number): string {
  let isDown = false;
  return values
    .map(([seconds, value]) => {
      const command = isDown ? 'L' : 'M';
      isDown = Number.isFinite(value);
      return isDown ? `${command}${x(seconds)} ${y(value)}` : '';
    })
    .join('');
}

function legendOf(names: readonly string[]): string[] {
  let at = { x: 14, y: PLOT.top + PLOT.height + 34 };
  return names.map((name, index) => {
    const shown = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name;
    const width = 26 + shown.length * 6.2;
    if (at.x + width > CARD.width - 12) at = { x: 14, y: at.y + 15 };
    const { x, y } = at;
    at = { x: x + width, y };
    return `<path d="M${shortened(x)} ${y - 4}h10" stroke="${colour(index)}" stroke-width="2.5"/><text x="${shortened(x + 14)}" y="${y}">${escaped(shown)}</text>`;
  });
}

const SCALES: Readonly<Record<string, readonly (readonly [from: number, divisor: number, unit: string])[]>> = {
  s: [
    [1, 1, ' s'],
    [1e-3, 1e-3, ' ms'],
    [0, 1e-6, ' µs'],
  ],
  bytes: [[0, 1024 ** 2, ' MB']],
  percentunit: [[0, 0.01, ' %']],
  reqps: [[0, 1, '/s']],
  cps: [[0, 1, '/s']],
};

function inUnit(value: number, unit: string): string {
  if (value === 0) return '0';
  const [, divisor, name] = SCALES[unit]?.find(([from]) => value >= from) ?? [0, 1, ''];
  return `${Number((value / divisor).toPrecision(3))}${name}`;
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10);
}

const colour = (at: number): string => COLOURS[at % COLOURS.length] ?? '#333';
const finite = (value: number): number => (Number.isFinite(value) ? value : 0);
const shortened = (value: number): number => Math.round(value * 10) / 10;
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
