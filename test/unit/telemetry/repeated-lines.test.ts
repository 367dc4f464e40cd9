import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createLog } from '../../../src/telemetry/log.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function collect() {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>);
  return { log: createLog({ level: 'info', secrets: [], write }), lines };
}

describe('lines that a client can cause at will', () => {
  test('are written once a minute for each kind, with the number of those that were left out', () => {
    const { log, lines } = collect();
    for (let time = 1; time <= 500; time += 1) log.sparingly('warn', 'cut', { request_id: `r-${time}` }, 'unreadable');
    log.sparingly('error', 'coded', {}, 'unreadable');
    expect(lines).toMatchObject([{ level: 'warn', request_id: 'r-1' }, { level: 'error' }]);
    expect(lines[0]).not.toHaveProperty('times');
    vi.advanceTimersByTime(60_000);
    expect(lines.slice(2)).toMatchObject([{ level: 'warn', msg: 'unreadable', request_id: 'r-500', times: 499 }]);
    log.sparingly('warn', 'cut', { request_id: 'r-501' }, 'unreadable');
    expect(lines).toHaveLength(3);
    vi.advanceTimersByTime(60_000);
    expect(lines.slice(3)).toMatchObject([{ request_id: 'r-501', times: 1 }]);
  });

  test('are written at once again after a quiet minute', () => {
    const { log, lines } = collect();
    log.sparingly('warn', 'cut', {}, 'unreadable');
    vi.advanceTimersByTime(60_000);
    log.sparingly('warn', 'cut', {}, 'unreadable');
    expect(lines).toHaveLength(2);
    expect(lines[1]).not.toHaveProperty('times');
  });

  test('are no more where a client invents kinds', () => {
    const { log, lines } = collect();
    for (let kind = 0; kind < 10_000; kind += 1) log.sparingly('warn', `kind ${kind}`, {}, 'unreadable');
    expect(lines.length).toBeLessThan(100);
    vi.advanceTimersByTime(60_000);
    expect(lines.length).toBeLessThan(200);
    expect(lines.at(-1)?.['times']).toBeGreaterThan(9_000);
  });

  test('show the stack of a bug once, whatever a client has put into its message', () => {
    const { log, lines } = collect();
    const fail = (text: string) => new TypeError(`no such thing: ${text}`);
    for (const text of ['a', 'b', 'c']) {
      const err = new Error('wrapped', { cause: fail(text) });
      log.sparingly('error', err, { err }, 'a bug');
    }
    expect(lines).toHaveLength(1);
    const another = new TypeError('of another place');
    log.sparingly('error', another, { err: another }, 'a bug');
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(lines[1])).toContain('repeated-lines.test.ts');
  });
});
