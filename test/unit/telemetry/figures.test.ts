import { describe, expect, test } from 'vitest';
import { createCounters, createHistograms, createStoreCounters } from '../../../src/telemetry/figures.ts';

const rows = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

describe('a counter', () => {
  test('is written as Prometheus reads it', () => {
    const { listEntries } = createCounters();
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
    const { organizations } = createCounters();
    organizations.add(1, 'a|b', 'c');
    organizations.add(1, 'a', 'b|c');
    expect(rows(organizations.text())).toEqual([
      'modelgate_organization_decisions_total{organization="a|b",decision="c"} 1',
      'modelgate_organization_decisions_total{organization="a",decision="b|c"} 1',
    ]);
  });

  test('escapes what is in an id, and breaks no line', () => {
    const { grants } = createCounters();
    grants.add(1, 'a"b\\c\nd} 5\ud800');
    expect(rows(grants.text())).toEqual(['modelgate_grant_permits_total{model="a\\"b\\\\c\\nd} 5\ufffd"} 1']);
  });

  test('shows ids that are the same as far as they are shown in one row', () => {
    const { grants } = createCounters();
    for (const end of ['1', '2']) grants.add(1, 'x'.repeat(10_000) + end);
    expect(rows(grants.text())).toEqual([`modelgate_grant_permits_total{model="${'x'.repeat(200)}…"} 2`]);
  });

  test('adds to `other` what comes when it is full, and counts on what it has', () => {
    const { organizations } = createCounters();
    for (let id = 0; id < 4_000; id += 1) organizations.add(1, String(id), 'permit');
    for (const id of ['a', 'b', '0']) organizations.add(1, id, 'permit');
    organizations.add(1, 'c', 'deny');
    const written = rows(organizations.text());
    expect(written).toHaveLength(4_002);
    expect(written).toEqual(
      expect.arrayContaining([
        'modelgate_organization_decisions_total{organization="0",decision="permit"} 2',
        'modelgate_organization_decisions_total{organization="1",decision="permit"} 1',
        'modelgate_organization_decisions_total{organization="other",decision="permit"} 2',
        'modelgate_organization_decisions_total{organization="other",decision="deny"} 1',
      ]),
    );
  });

  test('can be kept elsewhere', () => {
    let hits = 1;
    const [lookups] = createStoreCounters(() => ({
      caches: [{ name: 'grants', hits, misses: 0 }],
      errors: new Map(),
      writeErrors: [],
    }));
    hits = 7;
    expect(rows(lookups?.text() ?? '')).toContain('modelgate_cache_lookups_total{cache="grants",outcome="hit"} 7');
  });
});

test('times are written as a histogram whose buckets include the ones below', () => {
  const { decision } = createHistograms();
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
