import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LimitsConfig } from '../../src/config/schema.ts';
import type { Standing } from '../../src/limits/headers.ts';
import type { Release } from '../../src/limits/limits.ts';
import { clientNetwork } from '../../src/transport/client.ts';
import { createMemoryAllowances } from '../../src/limits/memory.ts';

const OFF: LimitsConfig = { address: 'off', user: 'off', chat: 'off', organization: 'off', concurrentChats: 'off' };

/** Rates whose interval is a whole number of milliseconds, as nginx counts. */
const rates = fc
  .record({ interval: fc.integer({ min: 1, max: 2_000 }), count: fc.integer({ min: 1, max: 50 }), burst: fc.nat(20) })
  .map(({ interval, count, burst }) => ({ count: 1_000 * count, windowSeconds: interval * count, burst, interval }));

/**
 * nginx 1.22, ngx_http_limit_req_lookup: `excess = max(excess - rate * ms / 1000, 0) + 1000`, in thousandths of a
 * request; the first one finds no entry and leaves an excess of 0; refused above `burst`, and then nothing is stored.
 */
function createNginxModel({ interval, burst }: { interval: number; burst: number }) {
  let excess: number | undefined;
  let last = 0;
  return (at: number): boolean => {
    const next = excess === undefined ? 0 : Math.max(excess - (at - last) / interval, -1) + 1;
    const kept = Math.max(next, 0);
    if (kept > burst + 1e-9) return false;
    excess = kept;
    last = at;
    return true;
  };
}

test("a rate admits what nginx's burst without delay admits, request by request", () => {
  fc.assert(
    fc.property(rates, fc.array(fc.nat(3_000), { maxLength: 200 }), (rate, pauses) => {
      let now = 1_000;
      const allowances = createMemoryAllowances({ ...OFF, user: rate }, () => now);
      const nginx = createNginxModel(rate);
      for (const pause of pauses) {
        now += pause;
        const standing = allowances.take([{ limit: 'user', key: 'ann', cost: 1 }]) as Standing;
        expect(standing.admitted).toBe(nginx(now));
      }
    }),
  );
});

test('what an answer promises comes true: so many more are admitted, and one after the time given', () => {
  fc.assert(
    fc.property(rates, fc.array(fc.nat(3_000), { minLength: 1, maxLength: 50 }), (rate, pauses) => {
      let now = 1_000;
      const allowances = createMemoryAllowances({ ...OFF, user: rate }, () => now);
      const take = () => allowances.take([{ limit: 'user', key: 'ann', cost: 1 }]) as Standing;
      for (const pause of pauses) {
        now += pause;
        take();
      }
      const told = take();
      for (let left = told.remaining; left > 0; left -= 1) expect(take().admitted).toBe(true);
      const refused = take();
      expect(refused.admitted).toBe(false);
      now += refused.moreInMs - 0.01;
      expect(take().admitted).toBe(false);
      now += 0.02;
      expect(take().admitted).toBe(true);
      now += take().fullInMs;
      expect(take().remaining).toBe(rate.burst);
    }),
  );
});

test('no payer, however many there are, is ever admitted more than its rate', () => {
  fc.assert(
    fc.property(rates, fc.array(fc.tuple(fc.nat(200), fc.nat(5)), { maxLength: 300 }), (rate, requests) => {
      let now = 0;
      const allowances = createMemoryAllowances({ ...OFF, address: rate }, () => now);
      const admitted = new Map<number, number>();
      for (const [pause, payer] of requests) {
        now += pause;
        const standing = allowances.take([{ limit: 'address', key: String(payer), cost: 1 }]) as Standing;
        if (standing.admitted) admitted.set(payer, (admitted.get(payer) ?? 0) + 1);
      }
      const most = rate.burst + 1 + Math.floor(now / rate.interval + 1e-6);
      for (const count of admitted.values()) expect(count).toBeLessThanOrEqual(most);
    }),
  );
});

test('in any order of requests and ends, all places are free in the end, and never more than there are taken', () => {
  const steps = fc.array(fc.record({ user: fc.constantFrom('ann', 'bob'), ends: fc.boolean(), which: fc.nat(10) }), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), steps, (places, sequence) => {
      const allowances = createMemoryAllowances({ ...OFF, concurrentChats: places }, () => 0);
      const running: Record<string, Release[]> = { ann: [], bob: [] };
      const ended: Release[] = [];
      for (const { user, ends, which } of sequence) {
        const held = running[user] ?? [];
        if (ends) {
          const [release] = held.splice(which % Math.max(1, held.length), 1);
          release?.();
          if (release !== undefined) ended.push(release);
          // a second report of the same end frees no second place
          ended[which % Math.max(1, ended.length)]?.();
        } else {
          const { release } = allowances.start(user, 1, []);
          expect(release !== undefined).toBe(held.length < places);
          if (release !== undefined) held.push(release);
        }
      }
      for (const release of Object.values(running).flat()) release();
      for (const user of Object.keys(running)) {
        const free = Array.from({ length: places + 1 }, () => allowances.start(user, 1, []).release);
        expect(free.filter((release) => release !== undefined)).toHaveLength(places);
      }
    }),
  );
});

test('all addresses of a /64 are one client, those of another are not, however they are spelled', () => {
  const group = fc.integer({ min: 0, max: 0xffff });
  const hex = (value: number) => value.toString(16);
  const network = fc.tuple(group, group, group, group).filter((groups) => groups.some((one) => one !== 0));
  fc.assert(
    fc.property(network, fc.tuple(group, group, group, group), fc.tuple(group, group, group, group), (net, a, b) => {
      const first = [...net, ...a].map(hex).join(':');
      const second = [...net, ...b].map((value) => hex(value).padStart(4, '0').toUpperCase()).join(':');
      expect(clientNetwork(first)).toBe(clientNetwork(second));
      const [lead, ...rest] = net;
      const other = [lead ^ 1, ...rest, ...a].map(hex).join(':');
      expect(clientNetwork(other)).not.toBe(clientNetwork(first));
    }),
  );
});
