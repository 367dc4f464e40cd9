/** What the demo prints: where everything is, who is there, and three things to try. The keys are in a file beside it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { shellCommand } from '../backend-file/text.ts';
import { type DemoDatabase, DEMO_GRANTS } from './database.ts';

/** Addresses as `http://host:port`, and the words that run `modelgate` from any folder. */
type GuideParts = Readonly<
  Record<'gate' | 'admin' | 'backend', string> & { database: DemoDatabase; modelgate: readonly string[] }
>;

const HELLO = '{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}';
const IDS = `grep -o '"id":"[^"]*"' | sort -u`;

/** @returns text; each line that begins with two spaces under a numbered one can be pasted into a POSIX shell */
export function writeGuide(parts: GuideParts): string {
  const { database, gate, admin, backend } = parts;
  const keys = join(database.directory, 'keys');
  writeFileSync(keys, writeKeys(parts), { mode: 0o600 });
  return `modelgate demo: the organizations acme and globex share one backend. Nothing leaves this machine.

  gate      ${gate}   users talk to it
  backend   ${backend}   stands in for Open WebUI and lists every model to everyone
  admin     ${admin}   /healthz /readyz /metrics
  database  ${database.path}

  acme      ${DEMO_GRANTS.acme.join(', ')}: Ada (an admin), Alice, Carol
  globex    ${DEMO_GRANTS.globex.join(', ')}: Gina, Carol

Three things to try in another terminal. First load the keys:
  ${shellCommand('.', keys)}
1. Alice sees the models of acme. The backend itself would show her all:
  curl -s $gate/api/models -H "$alice" | ${IDS}
  curl -s $backend/api/models -H "$alice" | ${IDS}
2. Alice asks a model that acme does not have. The refusal ends with the id of the decision:
  curl -s $gate/api/chat/completions -H "$alice" -H "$json" -d '${HELLO}' | tee "$answer"; echo
3. The reason for that decision, and the grant that changes it. Repeat 1 and 2 after it:
  modelgate explain $(grep -o 'd-[0-9a-z]\\{10\\}' "$answer")
  modelgate model allow gpt-4o --org acme

Ctrl-C ends the demo and removes the database.
`;
}

/** Shell variables for the commands above: addresses, a header of each user, and `modelgate` on this database. */
function writeKeys({ database, gate, admin, backend, modelgate }: GuideParts): string {
  const { hostname, port } = new URL(admin);
  const environment = [
    assign('DATABASE_URL', `sqlite:///${database.path}`),
    assign('MODELGATE_ADMIN_HOST', hostname),
    assign('MODELGATE_ADMIN_PORT', port),
  ];
  const people = database.users.flatMap(({ key, name, email, password, apiKey }) => [
    `# ${name}: ${email}, password ${password}`,
    assign(key, `Authorization: Bearer ${apiKey}`),
  ]);
  return [
    assign('gate', gate),
    assign('backend', backend),
    assign('json', 'Content-Type: application/json'),
    assign('answer', join(database.directory, 'answer')),
    ...people,
    `modelgate() { ${environment.join(' ')} ${shellCommand(...modelgate)} "$@"; }`,
    '',
  ].join('\n');
}

const assign = (variable: string, value: string): string => `${variable}=${shellCommand(value)}`;
