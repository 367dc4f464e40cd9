import { describe, expect, test } from 'vitest';
import { isForEyes, lineFormat } from '../../../../src/cli/text-log.ts';
import { createLog } from '../../../../src/telemetry/log.ts';

const options = { level: 'info', secrets: ['k3y-of-the-backend'] } satisfies Parameters<typeof createLog>[0];

/** What `write` of the log is given, without the time that stands first. */
function written(say: (log: ReturnType<typeof createLog>) => void): string[] {
  const lines: string[] = [];
  say(
    createLog({
      ...options,
      format: lineFormat({ logFormat: 'text' }, { output: false }),
      write: (line) => lines.push(line),
    }),
  );
  return lines.map((line) => {
    expect(line).toMatch(/^\d\d:\d\d:\d\d /);
    return line.slice('00:00:00 '.length);
  });
}

const request = {
  request_id: 'r',
  method: 'POST',
  path: '/api/chat/completions',
  status: 200,
  surface: 'invokes',
  decision: 'permit',
  reason: 'grant',
  decision_id: 'd-0123456789',
  model: 'gpt-4o-mini',
  user: 'alice',
  organization: 'acme',
  duration_ms: 21.4,
};

describe('the log for eyes', () => {
  test.each([
    ['a permitted request', {}, 'allow alice gpt-4o-mini acme POST /api/chat/completions 200 21 ms'],
    [
      'a denied one, with the id that the client was told',
      { status: 403, decision: 'deny', reason: 'not_granted', organization: undefined },
      'DENY alice gpt-4o-mini not granted POST /api/chat/completions 403 21 ms d-0123456789',
    ],
    [
      'one that is only reported',
      { decision: 'deny', reason: 'no_organization', organization: undefined, enforced: false },
      'would deny alice gpt-4o-mini no organization POST /api/chat/completions 200 21 ms d-0123456789',
    ],
    [
      'one without a user',
      { decision: 'deny', reason: 'not_authenticated', user: undefined, model: undefined, organization: undefined },
      'DENY anonymous - not authenticated POST /api/chat/completions 200 21 ms d-0123456789',
    ],
    [
      'one without a decision, that a limit refused',
      { decision: undefined, reason: undefined, organization: undefined, status: 429, limit: 'user' },
      'alice POST /api/chat/completions 429 21 ms limit=user',
    ],
  ])('shows %s in one line', (_name, more, expected) => {
    const [line = ''] = written((log) => log.record('info', { ...request, ...more }, 'request'));
    expect(line.trim().replaceAll(/ +/g, ' ')).toBe(expected);
    expect(line.endsWith('\n')).toBe(true);
  });

  test('shows anything else as level, message and fields', () => {
    expect(written((log) => log.warn({ peer: '10.0.0.1', n: 3, list: ['a'] }, 'something is odd'))).toEqual([
      'WARN  something is odd  peer=10.0.0.1  n=3  list=["a"]\n',
    ]);
  });

  test('shows an error with its stack, a line each', () => {
    const [text = ''] = written((log) => log.error({ err: new Error('broken') }, 'it failed'));
    const [first, second, third] = text.split('\n');
    expect([first, second]).toEqual(['ERROR it failed', '    Error: broken']);
    expect(third).toMatch(/^ {4}at .*text-log\.test\.ts/);
  });

  test('lets nothing of a client steer the terminal or begin a line', () => {
    const odd = 'a\u001b[2J\u009b31m\r\nb\u202ec\u2028\u0000';
    const lines = written((log) => {
      log.record('warn', { ...request, model: odd, path: `/${odd}`, user: odd }, 'request');
      log.warn({ peer: odd, deep: { odd } }, `peer ${odd}`);
    });
    for (const line of lines) {
      expect(line).toMatch(/^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e]*\n$/);
    }
  });

  test('shows no secret', () => {
    const lines = written((log) => {
      log.record('info', { ...request, path: '/k3y-of-the-backend' }, 'request');
      log.error({ err: new Error('k3y-of-the-backend') }, 'failed');
    });
    expect(lines.join('')).not.toContain('k3y-of-the-backend');
  });
});

test('a line that redaction has made unreadable is shown as it is', () => {
  const lines: string[] = [];
  const format = lineFormat({ logFormat: 'text' }, { output: true });
  const log = createLog({ level: 'info', secrets: ['2026000'], format, write: (line) => lines.push(line) });
  log.record('info', { ...request, duration_ms: 2_026_000, path: '/\u009b' }, 'request');
  expect(lines[0]).toMatch(/^\{"time":.*"duration_ms":\[redacted\]\}\n$/);
  expect(lines[0]).not.toContain('\u009b');
});

describe('the form of the log', () => {
  test.each([
    [undefined, true, true],
    [undefined, false, false],
    ['text', false, true],
    ['json', true, false],
  ] as const)('LOG_FORMAT=%s, on a terminal: %s', (logFormat, output, expected) => {
    expect(isForEyes({ logFormat }, { output })).toBe(expected);
  });

  test('JSON stays as it is in a pipe, and is made harmless on a terminal', () => {
    const line = '{"msg":"a\u009b31m"}\n';
    expect(lineFormat({ logFormat: undefined }, { output: false })).toBeUndefined();
    expect(lineFormat({ logFormat: 'json' }, { output: true })?.(line)).toBe('{"msg":"a\\u009b31m"}\n');
  });
});
