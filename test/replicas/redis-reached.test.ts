/** Redis with TLS, and as a cluster of several nodes: two gates count one limit there. */
import { execFileSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { makeCertificates } from '../support/postgres-certificates.ts';
import { freePorts } from '../support/process/ports.ts';
import { until } from '../support/process/with-timeout.ts';
import { redisOfTest } from '../support/redis/redis-process.ts';
import type { ServingProcess } from '../support/gate/gate-process.ts';
import { TOGETHER, as, countedTogether, gatesOfTest, readiness, untilEach } from './gates-on-redis.ts';

const SIX = { MODELGATE_LIMIT_USER: '6/1h', ...TOGETHER };

/** @returns what ten requests of the user are answered, by one gate after the other */
async function tenOf(gates: readonly ServingProcess[], user: string): Promise<readonly number[]> {
  const headers = await as(user);
  const statuses: number[] = [];
  for (let request = 0; request < 10; request += 1) {
    const answer = await fetch(`${gates[request % gates.length]?.url ?? ''}/api/v1/chats/`, { headers });
    await answer.body?.cancel();
    statuses.push(answer.status);
  }
  return statuses;
}

const ADMITTED_SIX = [200, 200, 200, 200, 200, 200, 429, 429, 429, 429];

async function redisWithTls() {
  const certificates = makeCertificates();
  onTestFinished(() => certificates[Symbol.dispose]());
  const [port = 0] = await freePorts(1);
  await redisOfTest([
    ...[`tls-port ${port}`, 'tls-auth-clients no', 'tls-protocols "TLSv1.2 TLSv1.3"'],
    ...[`tls-cert-file ${certificates.path('server.crt')}`, `tls-key-file ${certificates.path('server.key')}`],
    `tls-ca-cert-file ${certificates.path('authority.crt')}`,
  ]);
  return { url: `rediss://localhost:${port}/0`, authority: certificates.path('authority.crt') };
}

test('with TLS, and a certificate whose authority is known', async () => {
  const { url, authority } = await redisWithTls();
  const gates = await gatesOfTest(2, { ...SIX, MODELGATE_REDIS_URL: url, NODE_EXTRA_CA_CERTS: authority });
  expect(await countedTogether(gates, (user) => tenOf(gates, user))).toEqual(ADMITTED_SIX);
});

test('with TLS, and a certificate that is not to be looked at', async () => {
  const { url } = await redisWithTls();
  const gates = await gatesOfTest(2, { ...SIX, MODELGATE_REDIS_URL: `${url}?ssl_cert_reqs=none` });
  expect(await countedTogether(gates, (user) => tenOf(gates, user))).toEqual(ADMITTED_SIX);
});

test('a certificate of an unknown authority is refused in a sentence, and each gate counts its share', async () => {
  const { url } = await redisWithTls();
  const settings = { ...SIX, MODELGATE_REDIS_URL: url, MODELGATE_LIMITS_WITHOUT_REDIS: 'local' };
  const [gate] = await gatesOfTest(1, settings);
  if (gate === undefined) throw new Error('there is a gate');
  const isRefused = ({ problem }: { readonly problem: string | null }) =>
    problem?.includes('its certificate or its TLS is not accepted') === true;
  await untilEach([gate], isRefused, 'it is refused');
  expect(await readiness(gate)).toMatchObject({ status: 200, reachable: false });
  expect(await tenOf([gate], 'ann')).toEqual(ADMITTED_SIX);
});

test('a cluster of three nodes, of whichever the URL names one', async () => {
  const buses = await freePorts(3);
  const nodes = await Promise.all(buses.map((bus) => redisOfTest(['cluster-enabled yes', `cluster-port ${bus}`])));
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  execFileSync('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'], { stdio: 'pipe' });
  const isWhole = async () => String(await nodes[2]?.ask('CLUSTER', 'INFO')).includes('cluster_state:ok');
  await until(isWhole, 15_000, 'the cluster serves all slots');
  for (const node of nodes) {
    await node.ask('FLUSHALL');
  }
  const made = [nodes[0], nodes[2]].map((node) =>
    gatesOfTest(1, { ...SIX, MODELGATE_REDIS_URL: node?.url ?? '', REDIS_CLUSTER: 'true' }),
  );
  const gates = (await Promise.all(made)).flat();
  expect(await countedTogether(gates, (user) => tenOf(gates, user))).toEqual(ADMITTED_SIX);
});
