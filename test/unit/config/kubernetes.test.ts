/** The manifests of `config/kubernetes/` agree with themselves, with the image and with the settings that there are. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseConfig } from '../../../src/config/parse.ts';
import { type SettingName, SETTING_NAMES, describeSetting } from '../../../src/config/settings.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FOLDER = join(ROOT, 'config/kubernetes');
const read = (path: string): string => readFileSync(path, 'utf8');

type Labels = Record<string, string>;
interface Variable {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef: { name: string; key: string } };
}
interface Probe {
  httpGet: { path: string; port: string };
}
interface Container {
  name: string;
  image: string;
  restartPolicy?: string;
  env: Variable[];
  ports?: { name: string; containerPort: number }[];
  lifecycle?: { preStop: { exec: { command: string[] } } };
  startupProbe?: Probe;
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  securityContext: Record<string, unknown>;
  volumeMounts: { name: string; mountPath: string }[];
}
interface PodSpec {
  terminationGracePeriodSeconds: number;
  automountServiceAccountToken: boolean;
  initContainers?: Container[];
  containers: Container[];
  volumes: { name: string; emptyDir?: object }[];
  topologySpreadConstraints: { labelSelector: { matchLabels: Labels } }[];
}
interface Deployment {
  kind: 'Deployment';
  metadata: { name: string };
  spec: {
    selector: { matchLabels: Labels };
    strategy: { rollingUpdate: object };
    template: { metadata: { labels: Labels }; spec: PodSpec };
  };
}
interface Service {
  kind: 'Service';
  metadata: { name: string; labels: Labels };
  spec: { selector: Labels; ports: { name: string; targetPort: string }[] };
}
interface Budget {
  kind: 'PodDisruptionBudget';
  metadata: { name: string };
  spec: { selector: { matchLabels: Labels } };
}
interface Monitor {
  kind: 'ServiceMonitor';
  metadata: { name: string };
  spec: { selector: { matchLabels: Labels }; endpoints: { port: string }[] };
}
interface Policy {
  kind: 'NetworkPolicy';
  metadata: { name: string };
  spec: { ingress: { from: { podSelector: { matchLabels: Labels } }[] }[] };
}
type Manifest = Deployment | Service | Budget | Monitor | Policy;

/** Every manifest that the kustomization of a folder brings together, its bases included. */
function manifestsOf(folder: string): Manifest[] {
  const { resources } = parse(read(join(folder, 'kustomization.yaml'))) as { resources: string[] };
  return resources.flatMap((resource) => {
    const path = join(folder, resource);
    return statSync(path).isDirectory() ? manifestsOf(path) : documentsOf(path);
  });
}
const documentsOf = (path: string): Manifest[] => parseAllDocuments(read(path)).map((one) => one.toJS() as Manifest);

const within = (part: Labels, whole: Labels): boolean =>
  Object.keys(part).length > 0 && Object.entries(part).every(([name, value]) => whole[name] === value);

function find<K extends Manifest['kind']>(manifests: readonly Manifest[], kind: K): Extract<Manifest, { kind: K }> {
  const found = manifests.find((one): one is Extract<Manifest, { kind: K }> => one.kind === kind);
  if (found === undefined) throw new Error(`there is no ${kind}`);
  return found;
}
const gateIn = ({ initContainers = [], containers }: Pick<PodSpec, 'containers' | 'initContainers'>): Container => {
  const gate = [...initContainers, ...containers].find(({ name }) => name === 'modelgate');
  if (gate === undefined) throw new Error('there is no container modelgate');
  return gate;
};
const valueOf = ({ env }: Pick<Container, 'env'>, name: string) => env.find((one) => one.name === name)?.value;
const secondsOf = (container: Container, name: string): number => Number.parseInt(valueOf(container, name) ?? '0', 10);

const image = read(join(ROOT, 'Dockerfile'));
const EXPOSED = /^EXPOSE (.+)$/m.exec(image)?.[1]?.split(' ').map(Number);
const USER = /^USER (\d+):(\d+)$/m.exec(image)?.slice(1).map(Number);

/** In the place of what the cluster's Secret holds. */
const SECRETS: Record<string, string> = { DATABASE_URL: 'sqlite:////data/webui.db', WEBUI_SECRET_KEY: 'a-secret' };
/** The backend's, for its sockets and for the gate's limits. */
const OF_THE_BACKEND = 'REDIS_URL';

const helm = parse(read(join(FOLDER, 'sidecar/helm-values.yaml'))) as {
  command: string[];
  service: { containerPort: number };
  extraEnvVars: Variable[];
  extraInitContainers: Container[];
  volumes: { name: string }[];
};

describe.each(['sidecar', 'deployment'])('%s', (shape) => {
  const manifests = manifestsOf(join(FOLDER, shape));
  const deployment = find(manifests, 'Deployment');
  const { template, selector, strategy } = deployment.spec;
  const gate = gateIn(template.spec);

  test('has each object once, and no Secret', () => {
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    expect(names.join()).not.toContain('Secret');
  });

  test('stops within its grace period, with ten seconds to spare', () => {
    const backend = template.spec.containers.find(({ name }) => name === 'open-webui');
    const preStop = Number(backend?.lifecycle?.preStop.exec.command.at(-1) ?? 0);
    const delay = secondsOf(gate, 'MODELGATE_DRAIN_DELAY');
    const needed = preStop + delay + secondsOf(gate, 'MODELGATE_DRAIN_TIMEOUT');
    expect(preStop + delay).toBeGreaterThanOrEqual(10);
    expect(template.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(needed + 10);
  });

  test('never has fewer Pods than it should while it is replaced', () => {
    expect(strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 });
  });

  test('is what its Service, budget, monitor and spread look for', () => {
    const { labels } = template.metadata;
    const service = find(manifests, 'Service');
    const monitor = find(documentsOf(join(FOLDER, 'base/service-monitor.yaml')), 'ServiceMonitor');
    expect(within(selector.matchLabels, labels)).toBe(true);
    expect(within(service.spec.selector, labels)).toBe(true);
    expect(within(find(manifests, 'PodDisruptionBudget').spec.selector.matchLabels, labels)).toBe(true);
    for (const { labelSelector } of template.spec.topologySpreadConstraints) {
      expect(within(labelSelector.matchLabels, labels)).toBe(true);
    }
    expect(within(monitor.spec.selector.matchLabels, service.metadata.labels)).toBe(true);
    expect(service.spec.ports.map(({ name }) => name)).toEqual(
      expect.arrayContaining(monitor.spec.endpoints.map(({ port }) => port)),
    );
    const ports = gate.ports?.map(({ name }) => name);
    expect(service.spec.ports.every(({ targetPort }) => ports?.includes(targetPort))).toBe(true);
  });

  test('listens where the image says', () => {
    expect(gate.ports?.map(({ containerPort }) => containerPort)).toEqual(EXPOSED);
  });

  test('gives its Pod no token of the cluster, and a place to write', () => {
    expect(template.spec.automountServiceAccountToken).toBe(false);
    const [tmp] = gate.volumeMounts;
    expect(tmp?.mountPath).toBe('/tmp');
    expect(template.spec.volumes.find(({ name }) => name === tmp?.name)?.emptyDir).toBeDefined();
  });

  test('names the image of this version', () => {
    const { images } = parse(read(join(FOLDER, shape, 'kustomization.yaml'))) as {
      images: { name: string; newTag: string }[];
    };
    const { version } = JSON.parse(read(join(ROOT, 'package.json'))) as { version: string };
    expect(images).toMatchObject([{ name: gate.image, newTag: version }]);
  });
});

describe.each([
  ['sidecar', () => gateIn(find(manifestsOf(join(FOLDER, 'sidecar')), 'Deployment').spec.template.spec)],
  ['deployment', () => gateIn(find(manifestsOf(join(FOLDER, 'deployment')), 'Deployment').spec.template.spec)],
  ['the values for the Helm chart', () => gateIn({ containers: helm.extraInitContainers })],
])('the gate of %s', (_shape, container) => {
  const gate = container();

  test('has settings that there are, with values that they take', () => {
    const known = gate.env.filter(({ name }) => name !== OF_THE_BACKEND);
    expect(SETTING_NAMES).toEqual(expect.arrayContaining(known.map(({ name }) => name)));
    const environment = Object.fromEntries(known.map(({ name, value }) => [name, value ?? SECRETS[name] ?? '']));
    expect(parseConfig({ environment, directory: '/', readSecret: () => '' })).not.toHaveProperty('issues');
    expect(environment).toHaveProperty('MODELGATE_ADMIN_HOST', '0.0.0.0');
  });

  test('has everything that is secret from a Secret', () => {
    const isSecret = (name: string): boolean =>
      name.endsWith('_URL') ? name !== 'MODELGATE_UPSTREAM_URL' : describeSetting(name as SettingName).secret;
    const secret = gate.env.filter(({ name }) => isSecret(name));
    expect(secret.map(({ name }) => name).sort()).toEqual([...Object.keys(SECRETS), OF_THE_BACKEND].sort());
    for (const { value, valueFrom } of secret) {
      expect([value, valueFrom?.secretKeyRef.name]).toEqual([undefined, 'open-webui']);
    }
  });

  test('is the user of the image, and may do nothing', () => {
    expect([gate.securityContext['runAsUser'], gate.securityContext['runAsGroup']]).toEqual(USER);
    expect(gate.securityContext).toMatchObject({
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    });
  });

  test('is asked at its admin port', () => {
    const { startupProbe, livenessProbe, readinessProbe, ports } = gate;
    expect([startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet)).toEqual([
      { path: '/healthz', port: 'admin' },
      { path: '/healthz', port: 'admin' },
      { path: '/readyz', port: 'admin' },
    ]);
    const admin = ports?.find(({ name }) => name === 'admin')?.containerPort;
    expect(String(admin)).toBe(valueOf(gate, 'MODELGATE_ADMIN_PORT'));
  });
});

describe('the way around the gate', () => {
  const backendOf = ({ containers }: PodSpec): Container | undefined =>
    containers.find(({ name }) => name === 'open-webui');

  test('is closed in the sidecar: the backend listens on 127.0.0.1, where the gate looks for it', () => {
    const { spec } = find(manifestsOf(join(FOLDER, 'sidecar')), 'Deployment').spec.template;
    const backend = backendOf(spec) ?? { env: [] };
    expect(valueOf(backend, 'HOST')).toBe('127.0.0.1');
    expect(valueOf(gateIn(spec), 'MODELGATE_UPSTREAM_URL')).toBe(`http://127.0.0.1:${valueOf(backend, 'PORT')}`);
    expect([gateIn(spec).restartPolicy, spec.initContainers?.length]).toEqual(['Always', 1]);
  });

  test('is closed with the Helm chart: its Service leads to the gate', () => {
    const gate = gateIn({ containers: helm.extraInitContainers });
    const backend = { env: helm.extraEnvVars };
    expect(valueOf(backend, 'HOST')).toBe('127.0.0.1');
    expect(valueOf(gate, 'MODELGATE_UPSTREAM_URL')).toBe(`http://127.0.0.1:${valueOf(backend, 'PORT')}`);
    expect(valueOf(gate, 'MODELGATE_PORT')).toBe(String(helm.service.containerPort));
    expect(gate.restartPolicy).toBe('Always');
    expect(helm.volumes.map(({ name }) => name)).toEqual(gate.volumeMounts.map(({ name }) => name));
    // the chart's Pods have Kubernetes' 30 s
    const slept = Number(/sleep (\d+)/.exec(helm.command.join(' '))?.[1]);
    expect(slept + secondsOf(gate, 'MODELGATE_DRAIN_TIMEOUT')).toBeLessThanOrEqual(20);
  });

  test('is closed before a backend of its own: the policy admits the gates alone', () => {
    const manifests = manifestsOf(join(FOLDER, 'deployment'));
    const { labels } = find(manifests, 'Deployment').spec.template.metadata;
    const { ingress } = find(manifests, 'NetworkPolicy').spec;
    const admitted = ingress.flatMap(({ from }) => from.map(({ podSelector }) => podSelector.matchLabels));
    expect(admitted).toHaveLength(1);
    expect(admitted.every((one) => within(one, labels))).toBe(true);
  });
});

test('every file is in a kustomization, if only behind a sign', () => {
  for (const folder of ['base', 'sidecar', 'deployment']) {
    const text = read(join(FOLDER, folder, 'kustomization.yaml'));
    const listed = [...text.matchAll(/^ +#?- ([\w-]+\.yaml)$/gm)].map(([, name]) => name);
    const there = readdirSync(join(FOLDER, folder)).filter((name) => !/^(?:kustomization|helm-values)/.test(name));
    expect(listed.sort()).toEqual(there.sort());
  }
});
