/** What the demo prints: where everything is, and for each user a line to see, to use, to be refused, and to learn why. */
import type { SampleAccount, SampleDatabase, SampleUserName } from './sample-database.ts';
import { SAMPLE_GRANTS } from './sample-database.ts';

export interface GuideAddresses {
  /** `http://host:port` of the gate: what users talk to. */
  readonly gate: string;
  readonly admin: string;
  readonly backend: string;
}

/** One line to paste into a shell, with what it shows. */
export interface GuideLine {
  readonly user: SampleUserName;
  readonly shows: 'list' | 'permitted' | 'refused' | 'explain';
  readonly says: string;
  readonly command: string;
}

/** A model that each may use and one that each may not; the reason is what `says` gives. */
const EXAMPLES = {
  ada: { permitted: 'claude-sonnet-4', refused: 'llama3.2:latest', because: 'a backend admin obeys the same rule' },
  alice: { permitted: 'acme-helper', refused: 'gpt-4o', because: 'acme has the preset, not the model under it' },
  gina: { permitted: 'mistral/codestral', refused: 'gpt-4o-mini', because: 'that is a model of acme' },
  carol: {
    permitted: 'llama3.2:latest',
    refused: 'arena-model',
    because: 'an arena picks any model, and nobody granted it',
  },
} as const satisfies Record<SampleUserName, { permitted: string; refused: string; because: string }>;

/** @param explain the words that run `modelgate explain` from any folder, quoted for a shell */
export function guideLines(database: SampleDatabase, gate: string, explain: string): readonly GuideLine[] {
  return (Object.keys(EXAMPLES) as SampleUserName[]).flatMap((user) => {
    const { permitted, refused, because } = EXAMPLES[user];
    const account = database.users[user];
    const authorization = `-H 'Authorization: Bearer ${account.apiKey}'`;
    const question = `explain --user ${account.email} --model ${refused} --database ${quote(database.path)}`;
    return [
      {
        user,
        shows: 'list',
        says: 'sees only these',
        command: `curl -s ${gate}/api/models ${authorization} | grep -o '"id":"[^"]*"' | sort -u`,
      },
      {
        user,
        shows: 'permitted',
        says: `may use ${permitted}`,
        command: `curl -sN ${chat(gate, account, permitted, true)}`,
      },
      {
        user,
        shows: 'refused',
        says: `may not use ${refused}: ${because}`,
        command: `curl -s -w '\\n' ${chat(gate, account, refused, false)}`,
      },
      { user, shows: 'explain', says: 'the decision behind that', command: `${explain} ${question}` },
    ] satisfies GuideLine[];
  });
}

function chat(gate: string, account: SampleAccount, model: string, stream: boolean): string {
  const body = { model, stream, messages: [{ role: 'user', content: 'Hello' }] };
  const headers = `-H 'Authorization: Bearer ${account.apiKey}' -H 'Content-Type: application/json'`;
  return `${gate}/api/chat/completions ${headers} -d '${JSON.stringify(body)}'`;
}

/**
 * Less than 60 lines, so that nothing has scrolled away.
 * @param notes whole sentences that the reader should not miss: they stand first
 */
export function writeGuide(
  database: SampleDatabase,
  addresses: GuideAddresses,
  lines: readonly GuideLine[],
  notes: readonly string[],
): string {
  const models = Object.entries(SAMPLE_GRANTS).map(([name, granted]) => `  ${name.padEnd(10)}${granted.join(', ')}`);
  const people = (Object.keys(EXAMPLES) as SampleUserName[]).flatMap((user) => [
    '',
    introduce(database.users[user]),
    ...lines.filter((line) => line.user === user).flatMap(({ says, command }) => [`  # ${says}`, `  ${command}`]),
  ]);
  return [
    ...notes,
    'modelgate demo: two organizations share one backend. Nothing leaves this machine.',
    '',
    `  gate      ${addresses.gate}   what users talk to`,
    `  admin     ${addresses.admin}   /healthz /readyz /metrics`,
    `  backend   ${addresses.backend}   the sample; it has no rule about models of its own`,
    `  database  ${database.path}`,
    '',
    ...models,
    ...people,
    '',
    'Ctrl-C ends the demo and removes the database.',
    '',
  ].join('\n');
}

function introduce({ name, email, password, role, organizations }: SampleAccount): string {
  const belongs = organizations.join(' and ');
  return `${name} (${email}, password ${password}), ${role === 'admin' ? 'backend admin, ' : ''}${belongs}`;
}

/** @returns the word in single quotes where a POSIX shell would otherwise read something into it */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
