import { describe, expect, test } from 'vitest';
import { describeMoment, nameOfPeriod, parseTimeZone, periodOf } from '../../../src/policy/period.ts';

type Case = readonly [zone: string, period: 'day' | 'week' | 'month', at: string, start: string, end: string];

const WARSAW: readonly Case[] = (
  [
    // 29 March has 23 hours, 25 October has 25
    ['day', '2026-03-28T22:59:59.999Z', '2026-03-27T23:00Z', '2026-03-28T23:00Z'],
    ['day', '2026-03-28T23:00Z', '2026-03-28T23:00Z', '2026-03-29T22:00Z'],
    ['day', '2026-03-29T00:59:59.999Z', '2026-03-28T23:00Z', '2026-03-29T22:00Z'],
    ['day', '2026-03-29T01:00Z', '2026-03-28T23:00Z', '2026-03-29T22:00Z'],
    ['day', '2026-03-29T21:59:59.999Z', '2026-03-28T23:00Z', '2026-03-29T22:00Z'],
    ['day', '2026-03-29T22:00Z', '2026-03-29T22:00Z', '2026-03-30T22:00Z'],
    ['week', '2026-03-29T21:59:59.999Z', '2026-03-22T23:00Z', '2026-03-29T22:00Z'],
    ['month', '2026-03-31T21:59:59.999Z', '2026-02-28T23:00Z', '2026-03-31T22:00Z'],
    ['month', '2026-03-31T22:00Z', '2026-03-31T22:00Z', '2026-04-30T22:00Z'],
    ['day', '2026-10-25T00:30Z', '2026-10-24T22:00Z', '2026-10-25T23:00Z'],
    ['day', '2026-10-25T01:30Z', '2026-10-24T22:00Z', '2026-10-25T23:00Z'],
    ['day', '2026-10-25T22:59:59.999Z', '2026-10-24T22:00Z', '2026-10-25T23:00Z'],
    ['day', '2026-10-25T23:00Z', '2026-10-25T23:00Z', '2026-10-26T23:00Z'],
    ['month', '2026-10-31T22:59:59.999Z', '2026-09-30T22:00Z', '2026-10-31T23:00Z'],
    ['month', '2026-10-31T23:00Z', '2026-10-31T23:00Z', '2026-11-30T23:00Z'],
    ['month', '2026-12-31T22:59:59.999Z', '2026-11-30T23:00Z', '2026-12-31T23:00Z'],
    ['month', '2026-12-31T23:00Z', '2026-12-31T23:00Z', '2027-01-31T23:00Z'],
    ['week', '2026-12-31T23:00Z', '2026-12-27T23:00Z', '2027-01-03T23:00Z'],
  ] as const
).map((one) => ['Europe/Warsaw', ...one]);

const OTHERS: readonly Case[] = [
  ['Asia/Kathmandu', 'day', '2026-11-27T18:14:59.999Z', '2026-11-26T18:15Z', '2026-11-27T18:15Z'],
  ['Asia/Kathmandu', 'day', '2026-11-27T18:15Z', '2026-11-27T18:15Z', '2026-11-28T18:15Z'],
  ['Asia/Kathmandu', 'week', '2026-11-29T18:14:59.999Z', '2026-11-22T18:15Z', '2026-11-29T18:15Z'],
  ['Asia/Kathmandu', 'week', '2026-11-29T18:15Z', '2026-11-29T18:15Z', '2026-12-06T18:15Z'],
  ['Asia/Kathmandu', 'month', '2026-11-30T18:14:59.999Z', '2026-10-31T18:15Z', '2026-11-30T18:15Z'],
  ['Asia/Kathmandu', 'month', '2026-11-30T18:15Z', '2026-11-30T18:15Z', '2026-12-31T18:15Z'],
  // 6 September begins at 01:00; 4 April has the hour from 23:00 twice
  ['America/Santiago', 'day', '2026-09-06T03:59:59.999Z', '2026-09-05T04:00Z', '2026-09-06T04:00Z'],
  ['America/Santiago', 'day', '2026-09-06T04:00Z', '2026-09-06T04:00Z', '2026-09-07T03:00Z'],
  ['America/Santiago', 'week', '2026-09-06T12:00Z', '2026-08-31T04:00Z', '2026-09-07T03:00Z'],
  ['America/Santiago', 'day', '2026-04-05T02:59:59.999Z', '2026-04-04T03:00Z', '2026-04-05T04:00Z'],
  ['America/Santiago', 'day', '2026-04-05T03:00Z', '2026-04-04T03:00Z', '2026-04-05T04:00Z'],
  ['America/Santiago', 'day', '2026-04-05T04:00Z', '2026-04-05T04:00Z', '2026-04-06T04:00Z'],
  ['America/Santiago', 'month', '2026-04-05T03:30Z', '2026-04-01T03:00Z', '2026-05-01T04:00Z'],
  // summer is half an hour
  ['Australia/Lord_Howe', 'day', '2026-04-04T15:00Z', '2026-04-04T13:00Z', '2026-04-05T13:30Z'],
  ['Australia/Lord_Howe', 'day', '2026-10-03T15:30Z', '2026-10-03T13:30Z', '2026-10-04T13:00Z'],
  ['Australia/Lord_Howe', 'month', '2026-04-30T13:29:59.999Z', '2026-03-31T13:00Z', '2026-04-30T13:30Z'],
  // the clock went back at 00:01, so that 7 November had two beginnings
  ['America/St_Johns', 'day', '2010-11-07T02:29:59.999Z', '2010-11-06T02:30Z', '2010-11-07T02:30Z'],
  ['America/St_Johns', 'day', '2010-11-07T02:30Z', '2010-11-07T02:30Z', '2010-11-08T03:30Z'],
  ['America/St_Johns', 'day', '2010-11-07T02:45Z', '2010-11-07T02:30Z', '2010-11-08T03:30Z'],
  // there was no 30 December
  ['Pacific/Apia', 'day', '2011-12-30T09:59:59.999Z', '2011-12-29T10:00Z', '2011-12-30T10:00Z'],
  ['Pacific/Apia', 'day', '2011-12-30T10:00Z', '2011-12-30T10:00Z', '2011-12-31T10:00Z'],
  ['America/New_York', 'day', '2026-11-01T05:30Z', '2026-11-01T04:00Z', '2026-11-02T05:00Z'],
  ['UTC', 'month', '2028-02-29T23:59:59.999Z', '2028-02-01T00:00Z', '2028-03-01T00:00Z'],
  ['UTC', 'month', '2027-02-28T23:59:59.999Z', '2027-02-01T00:00Z', '2027-03-01T00:00Z'],
  ['UTC', 'week', '1970-01-01T00:00Z', '1969-12-29T00:00Z', '1970-01-05T00:00Z'],
];

describe.each([...WARSAW, ...OTHERS])('in %s the %s of %s', (zone, period, at, start, end) => {
  test(`begins at ${start} and ends before ${end}`, () => {
    expect(periodOf(period, zone, Date.parse(at))).toEqual({ from: Date.parse(start), to: Date.parse(end) });
  });
});

test('the period of all calls has no end', () => {
  expect(periodOf('total', 'Europe/Warsaw', Date.now())).toEqual({ from: 0, to: Number.MAX_SAFE_INTEGER });
});

test.each([
  ['month', 'November'],
  ['week', 'the week of 23 November'],
  ['day', '27 November'],
  ['total', undefined],
] as const)('a %s has the name %s', (period, name) => {
  const { from } = periodOf(period, 'Asia/Kathmandu', Date.parse('2026-11-27T12:00Z'));
  expect(nameOfPeriod(period, 'Asia/Kathmandu', from)).toBe(name);
});

test.each([
  ['Europe/Warsaw', '2026-11-30T23:00Z', '1 December, 00:00 Europe/Warsaw'],
  ['America/Santiago', '2026-09-06T04:00Z', '6 September, 01:00 America/Santiago'],
])('a moment is given by the clock of %s', (zone, at, said) => {
  expect(describeMoment(zone, Date.parse(at))).toBe(said);
});

test.each([
  ['Europe/Warsaw', 'Europe/Warsaw'],
  ['europe/warsaw', 'Europe/Warsaw'],
  ['Asia/Kathmandu', 'Asia/Kathmandu'],
  ['utc', 'UTC'],
  ['Europe/Warszawa', undefined],
  ['+01:00', undefined],
  ['-05:07', undefined],
  ['2026-01-01[Europe/Warsaw]', undefined],
  ['', undefined],
  [7, undefined],
  [null, undefined],
])('%j is the time zone %j', (text, zone) => {
  expect(parseTimeZone(text)).toBe(zone);
});
