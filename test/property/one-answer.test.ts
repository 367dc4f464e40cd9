/**
 * One policy, asked in every way: a chat and the list through the gate, `explain`, `report`, and the rules in words.
 * A world is a file with the schema of a real backend and a gate in front of it; each user asks for every model.
 */
import fc from 'fast-check';
import { expect, inject, test } from 'vitest';
import {
  type GatePolicy,
  type ModelExplanation,
  explainModels,
  explainUser,
} from '../../src/organizations/explanation.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { runCommand } from '../support/process/command.ts';
import { type TestGate, startGateOn } from '../support/gate/gate.ts';
import { operationOn } from '../support/database/operation.ts';
import { type Rules, rulesOf } from '../support/gate/plain-rules.ts';
import { type World, type WorldUser, askedIn, providerOf, worlds } from '../support/database/random-world.ts';
import { until } from '../support/process/with-timeout.ts';
import { addUser, emailOf, writeWorld } from '../support/database/written-world.ts';

const SEED = 20_260_109;
/** 72 questions each, in every way. */
const WORLDS = inject('policyServer') === undefined ? 24 : 8;

const drawn = inject('policyServer') === undefined ? worlds : worlds.filter(isForPostgres);
const sampled = fc.sample(drawn, { seed: SEED, numRuns: WORLDS }).map((world, at) => ({ world, at }));

/** What PostgreSQL can hold, and what a gate does not change there: the rules read the file. */
function isForPostgres({ tables, users, members, grants, organization }: World): boolean {
  return (
    tables.kind === 'guide' &&
    organization === undefined &&
    users.every(({ role }) => !Buffer.isBuffer(role)) &&
    [...members, ...grants].every(({ active }) => active === null || Number.isInteger(active))
  );
}

const placeOf = ({ database, databaseUrl }: TestGate): string =>
  inject('policyServer') === undefined ? database.path : databaseUrl;

test.each(sampled)('world $at: each user gets the same answer everywhere', { timeout: 30_000 }, async ({ world }) => {
  await using gate = await startGateOn(writeWorld(world), providerOf(world), settingsOf(world));
  for (const user of world.users) if (user.late) addUser(gate.database, user);
  const asked = new Asked(world, gate);
  const predicted = await asked.everyExplanation();
  await asked.comparesWhatIsUsable();
  await asked.comparesReport();
  await asked.comparesEveryList();
  await asked.comparesEveryChat(predicted);
  await asked.comparesEnrolment(predicted);
  await asked.comparesCommands(predicted);
  expect(asked.disagreements).toEqual([]);
});

/** As `modelgate serve` and the commands take them from the environment. */
function settingsOf({ adminAccess, organization }: World): Record<string, string> {
  return {
    MODELGATE_ADMIN_ACCESS: adminAccess,
    // all users ask for everything at once
    ...Object.fromEntries(
      ['ADDRESS', 'USER', 'CHAT', 'ORGANIZATION'].map((name) => [`MODELGATE_LIMIT_${name}`, 'off']),
    ),
    ...(organization === undefined
      ? {}
      : {
          OPENROUTER_EXTERNAL_USER: organization.id,
          ORGANIZATION_NAME: organization.id,
          MODELGATE_AUTO_ENROLL: String(organization.autoEnroll),
        }),
  };
}

interface Line {
  readonly request_id: string;
  readonly decision: string;
  readonly reason: string;
  readonly organization?: string;
  readonly chain?: string;
}

/** What `explain` said before the first request to the gate; undefined for a user that it does not know. */
type Predicted = ReadonlyMap<string, ModelExplanation>;

class Asked {
  readonly disagreements: string[] = [];
  readonly #world: World;
  readonly #gate: TestGate;
  /** On the rows as the start of the gate has left them. */
  readonly #rules: Rules;
  readonly #enrolling: string | undefined;
  readonly #asked: readonly string[];
  readonly #tokens = new Map<string, string>();

  constructor(world: World, gate: TestGate) {
    this.#world = world;
    this.#gate = gate;
    this.#rules = rulesOf(world, gate.database);
    this.#asked = askedIn(world);
    this.#enrolling = world.organization?.autoEnroll === true ? world.organization.id : undefined;
  }

  #same(what: string, found: unknown, expected: unknown): void {
    const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
    if (one !== other) this.disagreements.push(`${what}: ${one}, and not ${other}`);
  }

  async everyExplanation(): Promise<Predicted> {
    const operation = operationOn(placeOf(this.#gate));
    const explanations = new Map<string, ModelExplanation>();
    for (const user of this.#world.users) {
      const { record: records } = await explainModels(operation, user.id, this.#policy(), (explain) =>
        this.#asked.map((model) => explain(model as ModelId)),
      );
      for (const record of records) {
        const { model, decision, reason } = record;
        explanations.set(keyOf(user, model), record);
        const expected = this.#rules.answer(user.id, model);
        this.#same(`effect in explain of ${keyOf(user, model)} (${reason})`, decision, expected.effect);
        if (!expected.reasons.includes(reason))
          this.#same(`reason in explain of ${keyOf(user, model)}`, reason, expected.reasons);
      }
      const counting = records[0]?.organizations.map(({ id }) => id);
      this.#same(`organizations in explain of ${user.id}`, counting, this.#rules.organizationsOf(user.id));
    }
    return explanations;
  }

  /** What `explain` lists for a user is what it permits of the same models one by one. */
  async comparesWhatIsUsable(): Promise<void> {
    const operation = operationOn(placeOf(this.#gate));
    for (const user of this.#world.users) {
      const { models, prefix_grants: prefixes } = (await explainUser(operation, user.id, this.#policy())).record;
      const listed = new Set<string>(models.map(({ model }) => model));
      const expected = (model: string) => this.#rules.answer(user.id, model).effect === 'permit';
      for (const model of listed)
        this.#same(`whether ${user.id} may use ${model}, as explain lists`, expected(model), true);
      const named = new Set([
        ...this.#world.rows.map(({ id }) => id),
        ...this.#asked.filter((id) => !id.endsWith('*') && this.#isGranted(id)),
      ]);
      for (const model of this.#asked.filter((id) => named.has(id))) {
        this.#same(`whether explain lists ${model} for ${user.id}`, listed.has(model), expected(model));
      }
      const covered = (model: string) => prefixes.some(({ pattern }) => model.startsWith(pattern.slice(0, -1)));
      const strays = this.#asked.filter((model) => expected(model) && !listed.has(model) && !covered(model));
      if (this.#world.adminAccess !== 'all') this.#same(`what else ${user.id} may use`, strays, []);
    }
  }

  #policy(): GatePolicy {
    const { adminAccess } = this.#world;
    return { mode: 'enforce', bypass: undefined, adminAccess, enrolling: this.#enrolling };
  }

  #isGranted(id: string): boolean {
    return (
      this.#gate.database.sql.prepare('SELECT 1 FROM organization_models WHERE model_id = ?').get(id) !== undefined
    );
  }

  async comparesReport(): Promise<void> {
    const { stdout } = await this.#run('report');
    const { rows, not_counted: notCounted } = JSON.parse(stdout) as {
      readonly rows: readonly Readonly<Record<string, unknown>>[];
      readonly not_counted: { readonly not_enrolled: number };
    };
    for (const user of this.#world.users) {
      const own = rows.filter((row) => row['email'] === emailOf(user));
      const found = own.map((row) => [row['organization'], row['model_count'], row['counts']]);
      const expected = this.#rules
        .reported(user.id)
        .map(({ organization, models, counts: does }) => [organization, models.length, does]);
      this.#same(`report of ${user.id}`, found.toSorted(), expected.toSorted());
    }
    const enrolled = this.#world.users.filter(({ id }) => this.#rules.isEnrolled(id));
    this.#same('users that the report expects to be enrolled', notCounted.not_enrolled, enrolled.length);
  }

  async comparesEveryList(): Promise<void> {
    for (const user of this.#world.users) {
      const answer = await this.#list(user);
      // the backend itself lets odd roles nowhere
      const mayList = user.role === 'user' || user.role === 'admin';
      if (!mayList) {
        if (answer.ok) this.#same(`status of the list of ${user.id}`, answer.status, 401);
        await answer.body?.cancel();
        continue;
      }
      const listed = idsOf(await answer.json());
      const usable = this.#offered().filter((model) => this.#rules.answer(user.id, model).effect === 'permit');
      this.#same(`list of ${user.id}`, listed, usable);
    }
  }

  /** On a machine without time to spare the file may not answer in time: a client asks again then, as `Retry-After` says. */
  async #list({ id }: WorldUser): Promise<Response> {
    let answer = await this.#gate.ask(id, '/api/models');
    await until(
      async () => {
        if (answer.status !== 503) return true;
        await answer.body?.cancel();
        answer = await this.#gate.ask(id, '/api/models');
        return false;
      },
      10_000,
      'a list that is no 503',
    );
    return answer;
  }

  /** What the backend lists to each user: provider models that are not switched off, and active presets. */
  #offered(): readonly string[] {
    const { rows } = this.#world;
    const own = providerOf(this.#world).map(({ id }) => id);
    const isHidden = (id: string) => rows.some((row) => row.id === id && row.base === null && row.active === 0);
    const presets = rows.filter((row) => row.base !== null && row.active === 1 && !own.includes(row.id));
    return [...own.filter((id) => !isHidden(id)), ...presets.map(({ id }) => id)];
  }

  async comparesEveryChat(predicted: Predicted): Promise<void> {
    const { backend, lines } = this.#gate;
    const answers = new Map<string, { readonly id: string; readonly status: number; readonly reached: boolean }>();
    for (const { user, model } of this.#pairs()) {
      const reached = backend.received.length;
      const body = { model, messages: [{ role: 'user', content: 'hello' }] };
      const answer = await this.#gate.ask(user.id, '/api/chat/completions', body, {
        headers: await this.#session(user),
      });
      await answer.arrayBuffer();
      answers.set(keyOf(user, model), {
        id: answer.headers.get('x-request-id') ?? '',
        status: answer.status,
        reached: backend.received.length > reached,
      });
      const { runs } = this.#rules.answer(user.id, model);
      const stray = this.#gate.ran().filter((ran) => runs !== 'any' && !runs.includes(ran));
      this.#same(`what else a chat of ${keyOf(user, model)} ran`, stray, []);
    }
    const told = new Map<string, Line>();
    const learn = () => {
      for (const line of lines.splice(0))
        if ('decision' in line && line['msg'] === 'request')
          told.set(String(line['request_id']), line as unknown as Line);
      return told.size === answers.size;
    };
    await until(learn, 15_000, 'an access line for each chat');
    for (const { user, model } of this.#pairs()) {
      const key = keyOf(user, model);
      const { id = '', status, reached } = answers.get(key) ?? {};
      const line = told.get(id);
      const expected = this.#rules.answer(user.id, model);
      this.#same(`whether a chat of ${key} reaches the backend`, reached, expected.effect === 'permit');
      if (expected.effect === 'deny') this.#same(`status of a chat of ${key}`, status, 403);
      const said = predicted.get(key);
      const chain = (said?.chain.length ?? 0) > 1 ? said?.chain.join(' > ') : undefined;
      this.#same(
        `what the gate decides and explain has said of ${key}`,
        [line?.decision, line?.reason, line?.organization, line?.chain],
        [said?.decision, said?.reason, said?.grant?.organization, chain],
      );
    }
  }

  /** Who has become a member is whom `explain` and the rules had said. */
  async comparesEnrolment(predicted: Predicted): Promise<void> {
    const after = rulesOf(this.#world, this.#gate.database);
    const members = this.#gate.database.sql
      .prepare<[], string>("SELECT user_id FROM organization_members WHERE id LIKE 'om\\_%' ESCAPE '\\' OR id IS NULL")
      .pluck()
      .all();
    for (const user of this.#world.users) {
      const isMade = members.includes(user.id) && !after.isEnrolled(user.id) && user.late;
      const said = predicted.get(keyOf(user, this.#asked[0] ?? ''))?.enrolment;
      if (user.late) this.#same(`enrolment of ${user.id}`, isMade, this.#rules.isEnrolled(user.id));
      this.#same(
        `enrolment of ${user.id} in explain`,
        said?.organization,
        this.#rules.isEnrolled(user.id) ? this.#enrolling : undefined,
      );
      this.#same(
        `organizations of ${user.id} afterwards`,
        after.organizationsOf(user.id),
        this.#rules.organizationsOf(user.id),
      );
    }
    return Promise.resolve();
  }

  /** The command itself: one model for each user, another one for each, on the rows as the chats have left them. */
  async comparesCommands(predicted: Predicted): Promise<void> {
    for (const [at, user] of this.#world.users.entries()) {
      const model = this.#asked[(at * 7 + this.#world.rows.length) % this.#asked.length] ?? '';
      const { stdout } = await this.#run('explain', '--user', user.id, '--model', model);
      const { decision, reason, chain, grant } = JSON.parse(stdout) as ModelExplanation;
      const before = predicted.get(keyOf(user, model));
      this.#same(
        `the command explain of ${keyOf(user, model)}`,
        [decision, reason, chain, grant],
        [before?.decision, before?.reason, before?.chain, before?.grant],
      );
    }
  }

  /** One for each user: to sign a token costs more than to judge what it asks for. */
  async #session({ id }: WorldUser): Promise<Record<string, string>> {
    const token = this.#tokens.get(id) ?? (await this.#gate.token(id));
    this.#tokens.set(id, token);
    return { authorization: `Bearer ${token}` };
  }

  #run(...words: string[]) {
    const environment = { ...settingsOf(this.#world), DATABASE_URL: this.#gate.databaseUrl };
    return runCommand([...words, '--json'], { environment });
  }

  *#pairs(): Generator<{ readonly user: WorldUser; readonly model: string }> {
    for (const user of this.#world.users) for (const model of this.#asked) yield { user, model };
  }
}

const keyOf = ({ id }: WorldUser, model: string): string => `${id} and ${model}`;

const idsOf = (list: unknown): readonly string[] =>
  (list as { readonly data: readonly { readonly id: string }[] }).data.map(({ id }) => id);
