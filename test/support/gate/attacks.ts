/** Attacks and ordinary uses of one kind, run against the whole gate with one oracle: the models that the backend ran. */
import { describe, expect, test } from 'vitest';
import type { Era } from '../database/database.ts';
import { type TestGate, gateOfSuite } from './gate.ts';

export type AnswerDialect = 'open-webui' | 'openai' | 'ollama' | 'anthropic';

interface Scenario {
  readonly name: string;
  /** `ann` of acme, which has A and `acme/`, where no other user is named. */
  readonly user?: string;
  readonly target: string;
  /** Sent as JSON with POST. */
  readonly body?: unknown;
  readonly init?: RequestInit;
  /** Both where it is left out. */
  readonly era?: Era;
}

export interface Attack extends Scenario {
  /** 403 where it is left out: the policy's word. */
  readonly status?: number;
  /** `open-webui` where it is left out. */
  readonly dialect?: AnswerDialect;
  /** Part of the text that the client gets. */
  readonly says?: string;
}

export interface Use extends Scenario {
  /** The models that must have run, in this order. */
  readonly runs: readonly string[];
  readonly status?: number;
}

export interface AttackClass {
  readonly settings?: Record<string, string>;
  /** Rows that the scenarios need. */
  readonly prepare?: (gate: TestGate) => void;
  readonly attacks: readonly Attack[];
  /** What the same doors must let through: a gate that refuses everything would pass the attacks. */
  readonly uses: readonly Use[];
}

const ANY_TEXT = expect.any(String) as unknown;
const SHAPES: Record<AnswerDialect, unknown> = {
  'open-webui': { detail: ANY_TEXT },
  openai: {
    error: {
      message: ANY_TEXT,
      type: ANY_TEXT,
      code: ANY_TEXT,
      param: expect.toBeOneOf([null, 'model']) as unknown,
    },
  },
  ollama: { error: ANY_TEXT },
  anthropic: { type: 'error', error: { type: ANY_TEXT, message: ANY_TEXT } },
};

const ERAS: readonly Era[] = ['0.6.18', '0.12.4'];

/** Declares the tests of one class, in both eras. */
export function describeAttacks(title: string, { settings, prepare, attacks, uses }: AttackClass): void {
  describe.each(ERAS)(`${title}, %s`, (era) => {
    const gate = gateOfSuite(settings, prepare, era);

    const ofEra = <T extends Scenario>(all: readonly T[]) => all.filter((one) => (one.era ?? era) === era);
    const send = ({ user = 'ann', target, body, init }: Scenario) => {
      gate.ran();
      return gate.ask(user, target, body, init);
    };

    test.each(ofEra(attacks))(
      'refuses $name',
      async ({ status = 403, dialect = 'open-webui', says = '', ...attack }) => {
        const answer = await send(attack);
        const text = await answer.text();
        expect({ ran: gate.ran(), status: answer.status }, text).toEqual({ ran: [], status });
        expect(JSON.parse(text)).toEqual(SHAPES[dialect]);
        expect(text).toContain(says);
      },
    );

    test.each(ofEra(uses))('lets through $name', async ({ status = 200, runs, ...use }) => {
      const answer = await send(use);
      const text = await answer.text();
      expect({ ran: gate.ran(), status: answer.status }, text).toEqual({ ran: [...runs], status });
    });
  });
}

/** What is sent to one door as JSON, by its name. */
export const at = <T extends object>(target: string, bodies: Readonly<Record<string, unknown>>, more?: T) =>
  Object.entries(bodies).map(([name, body]) => ({ name, target, body, ...(more as T) }));

/** A chat body, whatever the dialect: all of them read `messages`. */
export const chat = (model: unknown, more: object = {}): Record<string, unknown> => ({
  model,
  messages: [{ role: 'user', content: 'hello' }],
  ...more,
});
