import { describe, expect, test } from 'vitest';
import { toUserId } from '../../../src/policy/principal.ts';
import { deny } from '../../../src/policy/decision.ts';
import type { Scope } from '../../../src/gate/scope.ts';
import type { FlatFields } from '../../../src/telemetry/log.ts';
import type { Metrics } from '../../../src/telemetry/metrics.ts';
import type { OwnAnswer } from '../../../src/transport/answer.ts';
import { createObserver } from '../../../src/telemetry/observe.ts';
import type { ForwardOutcome } from '../../../src/transport/exchange.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';

type RequestFigures = Parameters<Metrics['requestEnded']>[0];

interface Line extends FlatFields {
  level: string;
  message: string;
}

const outcomeAt = (more: Partial<ForwardOutcome>): ForwardOutcome => ({
  status: 200,
  upstreamStartedAt: 0,
  firstByteAt: 0,
  lastByteAt: 0,
  rewriteMs: 0,
  truncated: false,
  ...more,
});

/** Runs the stage around `serve` and ends the answer; resolves with what was written. */
async function observed(
  scope: Scope,
  serve: () => void = () => undefined,
): Promise<{ line: Line; figures: RequestFigures; started: number }> {
  let started = 0;
  const written = Promise.withResolvers<Line>();
  const figures = Promise.withResolvers<RequestFigures>();
  const { observe } = createObserver({
    mode: 'enforce',
    log: { record: (level, fields, message) => written.resolve({ ...fields, level, message }) },
    metrics: {
      requestStarted: () => void (started += 1),
      requestEnded: figures.resolve,
      requestAnswered: () => expect.fail('this request has a scope'),
    },
  });
  // only `c.get('scope')` is looked at
  const context = { get: () => scope } as unknown as Parameters<typeof observe>[0];
  await observe(context, () => Promise.resolve(serve()));
  scope.outgoing.emit('close');
  return { line: await withTimeout(written.promise, 1_000, 'access line'), figures: await figures.promise, started };
}

describe('the access line', () => {
  test('of a permitted request says who, what, why and how long', async () => {
    const scope = sampleScope({ headers: { 'x-request-id': 'caller-0001', authorization: 'Bearer hunter2' } });
    scope.path = '/api/chat/completions';
    scope.surface = { kind: 'neutral' };
    scope.principal = { kind: 'user', id: toUserId('u1'), role: 'user' };
    const { line, figures, started } = await observed(scope, () => {
      const at = scope.startedAt;
      scope.outcome = outcomeAt({ upstreamStartedAt: at + 2, firstByteAt: at + 12, lastByteAt: at + 42 });
    });
    expect(line).toMatchObject({
      level: 'info',
      message: 'request',
      request_id: 'caller-0001',
      method: 'POST',
      path: '/api/chat/completions',
      status: 200,
      surface: 'neutral',
      user: 'u1',
      upstream_ms: 10,
    });
    expect(line['duration_ms']).toBeGreaterThanOrEqual(0);
    expect(figures).toMatchObject({ surface: 'neutral', status: 200, decision: 'none' });
    expect(figures.addedMs).toBeCloseTo(2);
    expect(figures.firstByteMs).toBeCloseTo(10);
    expect(figures.upstreamMs).toBeCloseTo(40);
    expect(started).toBe(1);
  });

  test('of a denied request carries the decision, and warns', async () => {
    const scope = sampleScope();
    const { line, figures } = await observed(scope, () => {
      scope.decision = deny('not_granted');
      scope.decisionId = 'd-0123456789';
      scope.outgoing.statusCode = 403;
    });
    expect(line).toMatchObject({
      level: 'warn',
      status: 403,
      decision: 'deny',
      reason: 'not_granted',
      decision_id: 'd-0123456789',
    });
    expect(figures.decision).toBe('deny');
    expect(figures.addedMs).toBeUndefined();
  });

  test('counts the rewriting of an answer to what the gate adds, not to the upstream', async () => {
    const scope = sampleScope();
    const { figures } = await observed(scope, () => {
      const at = scope.startedAt;
      const times = { upstreamStartedAt: at + 2, firstByteAt: at + 3, lastByteAt: at + 12 };
      scope.outcome = outcomeAt({ ...times, rewriteMs: 5 });
    });
    expect(figures.addedMs).toBeCloseTo(7);
    expect(figures.upstreamMs).toBeCloseTo(10);
  });

  test('shows no query, no header and no more than 512 characters of a path', async () => {
    const { line } = await observed(
      sampleScope({ url: `/${'x'.repeat(9_000)}?token=hunter2`, headers: { cookie: 'hunter2' } }),
    );
    expect(JSON.stringify(line)).not.toContain('hunter2');
    expect(String(line['path'])).toHaveLength(513);
  });

  test('says 499 where the client left first', async () => {
    const scope = sampleScope();
    Object.assign(scope.outgoing, { writableFinished: false });
    expect((await observed(scope)).line).toMatchObject({ status: 499, level: 'info' });
  });

  test('says that the upstream broke off, not the client', async () => {
    const scope = sampleScope();
    Object.assign(scope.outgoing, { writableFinished: false });
    const { line } = await observed(scope, () => {
      scope.outcome = outcomeAt({ upstreamStartedAt: 1, firstByteAt: 2, truncated: true });
    });
    expect(line).toMatchObject({ status: 200, truncated: true, level: 'warn' });
  });

  test('sees what a later stage learns only with the end of the answer', async () => {
    const scope = sampleScope();
    const settled = Promise.withResolvers<undefined>();
    void settled.promise.then(() => {
      scope.outcome = outcomeAt({ upstreamStartedAt: 1, firstByteAt: 4 });
    });
    scope.outgoing.once('close', () => settled.resolve(undefined));
    expect((await observed(scope)).line).toMatchObject({ upstream_ms: 3 });
  });

  test.each([
    [{ kind: 'anonymous', because: 'credential_expired' } as const, { anonymous: 'credential_expired' }],
    [{ kind: 'unresolved' } as const, { unresolved: true }],
  ])('of a request of %j says so', async (principal, fields) => {
    const scope = sampleScope();
    scope.principal = principal;
    expect((await observed(scope)).line).toMatchObject(fields);
  });
});

describe('what the listener answers by itself', () => {
  function answered(own: OwnAnswer): { line: object; statuses: number[] } {
    const lines: object[] = [];
    const statuses: number[] = [];
    const unused = (): never => expect.fail('there is no scope');
    createObserver({
      mode: 'enforce',
      log: { record: (level, fields, message) => lines.push({ level, ...fields, message }) },
      metrics: { requestStarted: unused, requestEnded: unused, requestAnswered: (status) => statuses.push(status) },
    }).answered(own);
    expect(lines).toHaveLength(1);
    return { line: lines[0] ?? {}, statuses };
  }

  test('has an access line, without its query, and is counted', () => {
    const incoming = { method: 'OPTIONS', url: '/api?token=hunter2' };
    const { line, statuses } = answered({ status: 204, incoming });
    expect(line).toMatchObject({ level: 'info', message: 'request', method: 'OPTIONS', path: '/api', status: 204 });
    expect(JSON.stringify(line)).not.toContain('hunter2');
    expect(statuses).toEqual([204]);
  });

  test('has one too where the bytes were no request', () => {
    expect(answered({ status: 431, code: 'headers_too_large' }).line).toEqual({
      level: 'info',
      message: 'request',
      method: undefined,
      path: undefined,
      status: 431,
      surface: 'none',
      code: 'headers_too_large',
    });
  });
});
