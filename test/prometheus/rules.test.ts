/** The scrape configuration and the alerts, by Prometheus's own tool. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { promtool } from './prometheus-process.ts';

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const CONFIG = path('config/prometheus.yml');
const RULES = path('config/alerts.yml');
const TESTS = path('test/prometheus/alerts.test.yml');

interface Rule {
  readonly alert: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}
interface RuleTests {
  readonly tests: readonly {
    readonly alert_rule_test?: readonly { readonly alertname: string; readonly exp_alerts: readonly unknown[] }[];
  }[];
}

const { groups } = parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] };
const alerts = groups.flatMap(({ rules }) => rules);
const asked = (parse(readFileSync(TESTS, 'utf8')) as RuleTests).tests.flatMap((one) => one.alert_rule_test ?? []);

test('the scrape configuration is valid, and so are the rules that it names', () => {
  const { code, output } = promtool('check', 'config', CONFIG);
  expect(output).toContain('rule files found');
  expect(code, output).toBe(0);
});

test('promtool finds nothing to complain about in the rules', () => {
  const { code, output } = promtool('check', 'rules', '--lint=all', '--lint-fatal', RULES);
  expect(code, output).toBe(0);
});

test('the rule tests pass', () => {
  const { code, output } = promtool('test', 'rules', TESTS);
  expect(code, output).toBe(0);
});

describe.each(alerts)('$alert', ({ alert, labels, annotations }) => {
  test('says what is the matter, how grave it is, and what to do', () => {
    expect(annotations['summary']).toMatch(/^.{20,}/);
    expect(annotations['action']).toMatch(/^.{60,}/);
    expect(['critical', 'warning']).toContain(labels['severity']);
  });

  test('has a section in the runbook, which says what it means, what to look at and what to do', () => {
    expect(annotations['runbook']).toBe(`config/README.md#${alert.toLowerCase()}`);
    const [, section = ''] = readFileSync(path('config/README.md'), 'utf8').split(`\n### ${alert}\n`);
    const [text = ''] = section.split(/\n##/);
    for (const part of ['Means', 'Look at', 'Do']) expect(text).toContain(`**${part}**`);
  });

  test('has a test in which it fires, and one in which it does not', () => {
    const expected = asked.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length);
    expect(expected).toContain(0);
    expect(Math.max(...expected)).toBeGreaterThan(0);
  });
});
