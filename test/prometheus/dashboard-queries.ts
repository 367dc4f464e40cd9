/** The queries of the committed dashboard, as Grafana would ask them. */
import { readFileSync } from 'node:fs';

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } };
}

export interface Query {
  readonly panel: Panel;
  readonly legend: string;
  /** With Grafana's variables filled in. */
  readonly text: string;
}

const { panels } = JSON.parse(
  readFileSync(new URL('../../config/grafana-dashboard.json', import.meta.url), 'utf8'),
) as { panels: Panel[] };

export const PANELS: readonly Panel[] = panels;

/** @param interval what Grafana makes of `$__rate_interval`: four scrapes */
export function queriesOf(panel: Panel, interval: string): Query[] {
  return (panel.targets ?? []).map(({ expr, legendFormat }) => ({
    panel,
    legend: legendFormat,
    text: expr.replaceAll('$__rate_interval', interval).replaceAll('$instance', '.*'),
  }));
}
