/** The log for eyes, made of finished JSON lines: what they keep secret is left out already. */
import { shownDatabase } from '../config/database.ts';
import type { Config } from '../config/schema.ts';
import { asJsonLine, whole } from './report.ts';
import type { Screen } from './terminal.ts';

type Fields = Readonly<Record<string, unknown>>;

export const isForEyes = ({ logFormat }: Pick<Config, 'logFormat'>, { output }: Pick<Screen, 'output'>): boolean =>
  (logFormat ?? (output ? 'text' : 'json')) === 'text';

/** @returns what is to be made of each line; undefined where it stays as it is */
export function lineFormat(config: Pick<Config, 'logFormat'>, screen: Pick<Screen, 'output'>) {
  if (isForEyes(config, screen)) return whereReadable(textLine);
  // JSON lets control characters above U+007F stand, which a terminal may obey
  return screen.output ? whereReadable((line) => `${asJsonLine(JSON.parse(line))}\n`) : undefined;
}

/** A secret of digits alone is taken out of numbers as well, and what is left of such a line is no JSON. */
const whereReadable = (format: (line: string) => string) => (line: string) => {
  try {
    return format(line);
  } catch {
    return `${whole(line.trimEnd())}\n`;
  }
};

const inLines = (lines: readonly string[]): string => lines.map((line) => `${whole(line)}\n`).join('');

/** @returns the same as text; an error has its stack in lines of its own @throws SyntaxError where it is no JSON */
function textLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Fields;
  const isAccess = msg === 'request' || msg === 'decision';
  const body = isAccess ? accessText(fields, level) : `${String(level).toUpperCase().padEnd(WORD)} ${String(msg)}`;
  const rest = Object.entries(fields).filter(([name]) => !isAccess || FURTHER.has(name));
  const named = rest.map(([name, value]) => `  ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const clock = new Date(String(time)).toTimeString().slice(0, 8);
  const { stack, message } = (err ?? {}) as Fields;
  const trace = typeof err === 'object' && err !== null ? String(stack ?? message).split('\n') : [];
  return inLines([`${clock} ${body}${named.join('')}`, ...trace.map((text) => `    ${text.trim()}`)]);
}

const WORD = 5;
const FURTHER: ReadonlySet<string> = new Set(['limit', 'truncated', 'code', 'chain']);

/** Who, which model, why, and what was asked and answered, in columns; the id of a denial stands last. */
function accessText(fields: Fields, level: unknown): string {
  const { decision, enforced, organization, reason, status, duration_ms: ms } = fields;
  const text = (name: string, otherwise = '-'): string => {
    const value = fields[name];
    return typeof value === 'string' || typeof value === 'number' ? String(value) : otherwise;
  };
  const isDenied = decision === 'deny';
  const refused = enforced === false ? 'would deny' : 'DENY';
  const unjudged = level === 'info' ? '' : String(level).toUpperCase();
  const verdict = isDenied ? refused : decision === 'permit' ? 'allow' : unjudged;
  const why = isDenied || organization === undefined ? text('reason').replaceAll('_', ' ') : text('organization');
  const judged = reason === undefined ? '' : `  ${text('model').padEnd(20)}  ${why.padEnd(20)}`;
  const asked = status === undefined ? '' : `  ${text('method').padEnd(4)} ${text('path')} ${text('status')}`;
  const took = ms === undefined ? '' : `  ${Math.round(Number(ms))} ms`;
  const who = text('user', fields['unresolved'] === true ? 'unresolved' : 'anonymous').padEnd(20);
  return `${verdict.padEnd(WORD)} ${who}${judged}${asked}${took}${isDenied ? `  ${text('decision_id')}` : ''}`;
}

/** What is said once, when the gate listens. */
export function startText(
  { policy, organization, upstream, database }: Pick<Config, 'policy' | 'organization' | 'upstream' | 'database'>,
  {
    url,
    adminUrl,
    providerUrl,
    version,
  }: Record<'url' | 'adminUrl' | 'version', string> & { readonly providerUrl?: string | undefined },
): string {
  const reporting = policy.mode === 'report' ? 'only reporting' : 'enforcing';
  const state = policy.bypass === undefined ? reporting : `SWITCHED OFF by ${policy.bypass}`;
  const lines = [
    `modelgate ${version} — ${state}`,
    `  gate      ${url}  →  ${upstream.url.origin}`,
    `  admin     ${adminUrl}  /healthz /readyz /metrics`,
    ...(providerUrl === undefined ? [] : [`  providers ${providerUrl}  for the backend alone`]),
    `  database  ${shownDatabase(database)}`,
  ];
  if (organization !== undefined) {
    const { autoEnroll, id, name } = organization;
    lines.push(`  new users ${autoEnroll ? 'join' : 'do not join'} ${id} ("${name}")`);
  }
  return inLines(lines);
}
