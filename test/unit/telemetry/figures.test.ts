import { describe, expect, test } from 'vitest';
import { createCounter, createHistogram, readCounter } from '../../../src/telemetry/figures.ts';

const organizationsOf = (maxRows?: number) => createCounter('o_total{organization,decision} Decisions.', maxRows);
const grantsOf = () => createCounter('g_total{model} Permits.');
const rows = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

describe('a counter', () => {
  test('is written as Prometheus reads it', () => {
    const listEntries = createCounter('list_entries_total{outcome} Entries of lists of models, kept or removed.');
    listEntries.add(2, 'kept');
    listEntries.add(3, 'kept');
    listEntries.add(0, 'removed');
    expect(listEntries.text()).toBe(
      '# HELP modelgate_list_entries_total Entries of lists of models, kept or removed.\n' +
        '# TYPE modelgate_list_entries_total counter\n' +
        'modelgate_list_entries_total{outcome="kept"} 5\nmodelgate_list_entries_total{outcome="removed"} 0\n',
    );
  });

  test('keeps apart what a separator could join', () => {
    const organizations = organizationsOf();
    organizations.add(1, 'a|b', 'c');
    organizations.add(1, 'a', 'b|c');
    expect(rows(organizations.text())).toEqual([
      'modelgate_o_total{organization="a|b",decision="c"} 1',
      'modelgate_o_total{organization="a",decision="b|c"} 1',
    ]);
  });

  test('escapes what is in an id, and breaks no line', () => {
    const grants = grantsOf();
    grants.add(1, 'a"b\\c\nd} 5\ud800');
    expect(rows(grants.text())).toEqual(['modelgate_g_total{model="a\\"b\\\\c\\nd} 5\ufffd"} 1']);
  });

  test('shows ids that are the same as far as they are shown in one row', () => {
    const grants = grantsOf();
    for (const end of ['1', '2']) grants.add(1, 'x'.repeat(10_000) + end);
    expect(rows(grants.text())).toEqual([`modelgate_g_total{model="${'x'.repeat(200)}…"} 2`]);
  });

  test('adds to `other` what comes when it is full, and counts on what it has', () => {
    const organizations = organizationsOf(4_000);
    for (let id = 0; id < 4_000; id += 1) organizations.add(1, String(id), 'permit');
    for (const id of ['a', 'b', '0']) organizations.add(1, id, 'permit');
    organizations.add(1, 'c', 'deny');
    const written = rows(organizations.text());
    expect(written).toHaveLength(4_002);
    expect(written).toEqual(
      expect.arrayContaining([
        'modelgate_o_total{organization="0",decision="permit"} 2',
        'modelgate_o_total{organization="1",decision="permit"} 1',
        'modelgate_o_total{organization="other",decision="permit"} 2',
        'modelgate_o_total{organization="other",decision="deny"} 1',
      ]),
    );
  });

  test('can be kept elsewhere', () => {
    let hits = 1;
    const lookups = readCounter('lookups_total{cache,outcome} Lookups.', () => [[hits, 'grants', 'hit']]);
    hits = 7;
    expect(rows(lookups.text())).toContain('modelgate_lookups_total{cache="grants",outcome="hit"} 7');
  });
});

test('times are written as a histogram whose buckets include the ones below', () => {
  const bounds = [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.1];
  const decision = createHistogram('decision_duration_seconds Duration.', bounds);
  for (const seconds of [0.000005, 0.02, 0.02, 8]) decision.observe(seconds);
  const written = rows(decision.text());
  expect(written).toHaveLength(14);
  expect(written.at(0)).toBe('modelgate_decision_duration_seconds_bucket{le="0.000005"} 1');
  expect(written.at(9)).toBe('modelgate_decision_duration_seconds_bucket{le="0.01"} 1');
  expect(written.slice(10)).toEqual([
    'modelgate_decision_duration_seconds_bucket{le="0.1"} 3',
    'modelgate_decision_duration_seconds_bucket{le="+Inf"} 4',
    'modelgate_decision_duration_seconds_sum 8.040005',
    'modelgate_decision_duration_seconds_count 4',
  ]);
});
