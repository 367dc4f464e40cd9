import { describe, expect, test } from 'vitest';
import { createTally, createTimes, readTally } from '../../../src/telemetry/figures.ts';

const options = { name: 'x_total', help: 'What it counts.', labels: ['kind', 'outcome'] };
const rows = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

describe('a tally', () => {
  test('is written as Prometheus reads a counter', () => {
    const tally = createTally(options);
    tally.add(2, 'a', 'kept');
    tally.add(3, 'a', 'kept');
    tally.add(0, 'b', 'kept');
    expect(tally.text()).toBe(
      '# HELP x_total What it counts.\n# TYPE x_total counter\nx_total{kind="a",outcome="kept"} 5\nx_total{kind="b",outcome="kept"} 0\n',
    );
  });

  test('keeps apart what a separator could join', () => {
    const tally = createTally(options);
    tally.add(1, 'a|b', 'c');
    tally.add(1, 'a', 'b|c');
    expect(rows(tally.text())).toEqual(['x_total{kind="a|b",outcome="c"} 1', 'x_total{kind="a",outcome="b|c"} 1']);
  });

  test('escapes what is in an id, and breaks no line', () => {
    const tally = createTally({ ...options, labels: ['organization'] });
    tally.add(1, 'a"b\\c\nd} 5\ud800');
    expect(rows(tally.text())).toEqual(['x_total{organization="a\\"b\\\\c\\nd} 5\ufffd"} 1']);
  });

  test('shows ids that are the same as far as they are shown in one row', () => {
    const tally = createTally({ ...options, labels: ['organization'] });
    for (const end of ['1', '2']) tally.add(1, 'x'.repeat(10_000) + end);
    expect(rows(tally.text())).toEqual([`x_total{organization="${'x'.repeat(200)}…"} 2`]);
  });

  test('adds to `other` what comes when it is full, and counts on what it has', () => {
    const tally = createTally({ ...options, maxRows: 2 });
    for (const kind of ['a', 'b', 'c', 'd', 'a']) tally.add(1, kind, 'kept');
    tally.add(1, 'e', 'lost');
    expect(rows(tally.text())).toEqual([
      'x_total{kind="a",outcome="kept"} 2',
      'x_total{kind="b",outcome="kept"} 1',
      'x_total{kind="other",outcome="kept"} 2',
      'x_total{kind="other",outcome="lost"} 1',
    ]);
  });

  test('can be kept by somebody else', () => {
    let value = 1;
    const tally = readTally({ ...options, labels: ['kind'] }, () => [[['a'], value]]);
    value = 7;
    expect(rows(tally.text())).toEqual(['x_total{kind="a"} 7']);
  });
});

test('times are written as a histogram whose buckets include the ones below', () => {
  const times = createTimes('x_seconds', 'How long.', [0.25, 1]);
  for (const seconds of [0.25, 0.5, 0.5, 8]) times.observe(seconds);
  expect(rows(times.text())).toEqual([
    'x_seconds_bucket{le="0.25"} 1',
    'x_seconds_bucket{le="1"} 3',
    'x_seconds_bucket{le="+Inf"} 4',
    'x_seconds_sum 9.25',
    'x_seconds_count 4',
  ]);
});
