/** The committed edge in front of several gates, of which some are away, or go away with a request. */
import { describe, expect, test } from 'vitest';
import { NGINX_BINARIES, startEdge } from '../support/gate/edge.ts';
import { closing } from '../support/gate/transport.ts';
import { freePorts } from '../support/process/ports.ts';
import { startByteUpstream, startRecordingUpstream } from '../support/upstream/upstreams.ts';

describe.each(NGINX_BINARIES)('through %s', (binary) => {
  /** @returns how the edge answers so many chats, one after the other */
  async function statusesOf(gate: readonly string[], chats: number): Promise<number[]> {
    await using edge = await startEdge({ gate, binary, withoutTls: true });
    const statuses: number[] = [];
    for (let sent = 0; sent < chats; sent += 1) {
      const answer = await fetch(`${edge.url}/api/chat/completions`, { method: 'POST', body: '{"model":"A"}' });
      await answer.text();
      statuses.push(answer.status);
    }
    return statuses;
  }
  test('a gate that is away costs no chat', async () => {
    const there = closing(await startRecordingUpstream());
    const away = (await freePorts(2)).map((port) => `http://127.0.0.1:${port}`);
    expect(new Set(await statusesOf([...away, there.origin], 20))).toEqual(new Set([200]));
    expect(there.requests).toHaveLength(20);
  });

  test('a chat that a gate has taken is sent to no other', async () => {
    const there = closing(await startRecordingUpstream());
    let taken = 0;
    const breaking = closing(
      await startByteUpstream((socket) => {
        taken += 1;
        socket.destroy();
      }),
    );
    const statuses = await statusesOf([breaking.origin, there.origin], 20);
    expect(statuses.filter((status) => status === 502)).toHaveLength(10);
    expect([taken, there.requests.length]).toEqual([10, 10]);
  });
});
