/**
 * What no single value shows: two settings that contradict each other, and settings that would have no effect.
 * Looks only at values that could be read, so that one mistake is not reported twice.
 */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { answerContradictions } from './answers.ts';
import type { GivenSettings } from './given.ts';
import type { ConfigIssue } from './issue.ts';
import { quote } from './issue.ts';
import { chatsBeyondRequests } from './limit-contradictions.ts';
import type { Values } from './settings.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** @returns one issue for each contradiction */
export function contradictions(given: GivenSettings, values: Values, environment: Environment): ConfigIssue[] {
  return [
    ownAddress(values),
    sameAddress(values),
    ...organization(given),
    reportBesideBypass(values),
    otherDatabase(environment),
    twoDatabases(given, values),
    chatsBeyondRequests(given, values),
    ...answerContradictions(given, values),
  ].filter((issue) => issue !== undefined);
}

const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/** The gate and Open WebUI both choose 8080: started side by side on one machine, the gate would call itself. */
function ownAddress({
  MODELGATE_UPSTREAM_URL: url,
  MODELGATE_HOST: host,
  MODELGATE_PORT: port,
}: Values): ConfigIssue | undefined {
  if (url === undefined || host === undefined || port === undefined || port === 0) return undefined;
  const upstreamPort = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const here = isLoopback(url.hostname) && (WILDCARDS.has(host) || isLoopback(host));
  const named = url.hostname === host || url.hostname === `[${host}]` || WILDCARDS.has(url.hostname);
  if (upstreamPort !== port || !(here || named)) return undefined;
  return {
    setting: 'MODELGATE_UPSTREAM_URL',
    found: `${quote(url.origin)}, where the gate itself listens (MODELGATE_HOST ${host}, MODELGATE_PORT ${port})`,
    expected: 'the address of Open WebUI; move the gate or the backend to another port',
    example: 'MODELGATE_PORT=8000',
  };
}

function sameAddress(values: Values): ConfigIssue | undefined {
  const {
    MODELGATE_HOST: host,
    MODELGATE_PORT: port,
    MODELGATE_ADMIN_HOST: adminHost,
    MODELGATE_ADMIN_PORT: adminPort,
  } = values;
  if (host === undefined || adminHost === undefined || port === undefined || port === 0 || port !== adminPort)
    return undefined;
  if (host !== adminHost && !WILDCARDS.has(host) && !WILDCARDS.has(adminHost)) return undefined;
  return {
    setting: 'MODELGATE_ADMIN_PORT',
    found: `${port}, which is MODELGATE_PORT too`,
    expected: 'a port of its own for the admin listener',
    example: 'MODELGATE_ADMIN_PORT=9464',
  };
}

/** Linking needs both an id and a name; enrolment needs an organization. */
function organization(given: GivenSettings): ConfigIssue[] {
  const hasId = given.has('OPENROUTER_EXTERNAL_USER');
  const issues: ConfigIssue[] = [];
  if (hasId !== given.has('ORGANIZATION_NAME')) {
    const [present, absent] = hasId
      ? ['OPENROUTER_EXTERNAL_USER', 'ORGANIZATION_NAME']
      : ['ORGANIZATION_NAME', 'OPENROUTER_EXTERNAL_USER'];
    issues.push({
      setting: absent,
      found: `nothing, beside ${present}`,
      expected: 'both, or neither of them',
      example: hasId ? 'ORGANIZATION_NAME=Company Name' : 'OPENROUTER_EXTERNAL_USER=mai_client_companyname',
    });
  }
  if (given.has('MODELGATE_AUTO_ENROLL') && !hasId) {
    issues.push({
      setting: 'MODELGATE_AUTO_ENROLL',
      found: 'a value, but no organization to enrol anybody in',
      expected: 'OPENROUTER_EXTERNAL_USER and ORGANIZATION_NAME beside it, or it to be absent',
      example: 'OPENROUTER_EXTERNAL_USER=mai_client_companyname',
    });
  }
  return issues;
}

function reportBesideBypass(values: Values): ConfigIssue | undefined {
  const bypassed = values.BYPASS_MODEL_ACCESS_CONTROL === true || values.ENABLE_MODEL_FILTER === false;
  if (values.MODELGATE_MODE !== 'report' || !bypassed) return undefined;
  const name =
    values.BYPASS_MODEL_ACCESS_CONTROL === true ? 'BYPASS_MODEL_ACCESS_CONTROL=true' : 'ENABLE_MODEL_FILTER=false';
  return {
    setting: 'MODELGATE_MODE',
    found: `"report" beside ${name}, which judges nothing that could be reported`,
    expected: 'one of the two',
    example: 'MODELGATE_MODE=report',
  };
}

/** With these the backend builds its own URL and never looks at `DATABASE_URL` (Open WebUI from 0.6.23). */
function otherDatabase(environment: Environment): ConfigIssue | undefined {
  const type = environment['DATABASE_TYPE'];
  if (type === undefined || type === '' || type === 'sqlite') return undefined;
  return {
    setting: 'DATABASE_TYPE',
    source: 'environment',
    found: `${quote(type)}: the backend then uses another database than the one named here`,
    expected: 'the backend to use a plain SQLite file, the only database that is supported yet',
    example: 'DATABASE_URL=sqlite:////app/backend/data/webui.db',
  };
}

/** `DATA_DIR` holds more than the database, so both may stand in one `.env`; in one YAML file one of them does nothing. */
function twoDatabases(given: GivenSettings, values: Values): ConfigIssue | undefined {
  const url = given.get('DATABASE_URL');
  const directory = given.get('DATA_DIR');
  if (url === undefined || directory === undefined || directory.source === 'environment') return undefined;
  if (values.DATABASE_URL !== undefined && resolve(directory.text, 'webui.db') === resolve(values.DATABASE_URL))
    return undefined;
  return {
    setting: 'DATA_DIR',
    source: directory.source,
    found: 'a value without effect, because DATABASE_URL is set',
    expected: 'one of the two',
    example: `DATA_DIR: ${directory.text}`,
  };
}
