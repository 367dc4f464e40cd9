import { describe, expect, onTestFinished, test } from 'vitest';
import { parseModelId } from '../../../src/policy/grant.ts';
import { UNREADABLE, everyName, namesAt as namesOf, parametersOf } from '../../../src/references/saved-chat.ts';
import type { Store } from '../../../src/store/store.ts';
import { type Era, type TestDatabase, ERAS } from '../../support/database/database.ts';
import { databaseOfTest, openStore } from '../../support/database/opened-store.ts';
import { onlyInFile, testOfFile } from '../../support/database/policy-place.ts';

type Stored = Store['stored'];

type Prepare = (database: TestDatabase) => void;
const opened = new WeakMap<Prepare, Promise<Stored>>();

/** Asks the store of a database that is prepared so; names are sorted, so that their order says nothing. */
async function ask(
  prepare: Prepare,
  query: (stored: Stored) => Promise<readonly string[]>,
  era?: Era,
): Promise<string[]> {
  const stored = opened.get(prepare) ?? open(prepare, era);
  opened.set(prepare, stored);
  return (await query(await stored)).toSorted();
}

async function open(prepare: Prepare, era: Era = '0.12.4'): Promise<Stored> {
  const database = databaseOfTest({ era });
  database.addUser({ id: 'ada' });
  prepare(database);
  const { store } = await openStore(database);
  onTestFinished(() => store.close());
  return store.stored;
}

const chatOf = (stored: Stored, places?: readonly string[]) => stored.chat('chat', places, 'ada');
const everything = async (stored: Stored) => {
  const chat = await chatOf(stored);
  return chat === undefined ? [] : [...everyName(chat.names)];
};
const namesAt = async (stored: Stored, ...places: string[]) => {
  const chat = await chatOf(stored, places);
  return places.flatMap((place) => (chat === undefined ? [] : namesOf(chat.names, [place])));
};
const at = (stored: Stored, place: string) => namesAt(stored, place);

const CHAT = {
  models: ['chosen', ''],
  params: { temperature: 1, custom_params: { models: '["fallback"]' } },
  history: {
    currentId: 'b',
    messages: {
      a: { id: 'a', role: 'user', content: 'model: "quoted"', models: ['chosen'] },
      b: { id: 'b', role: 'assistant', parentId: 'a', model: 'answered', content: '{"model":"inside a text"}' },
      'c"; --': { id: 'c"; --', role: 'assistant', model: 'strange key' },
    },
  },
  messages: [{ id: 'b', role: 'assistant', model: 'answered too' }],
};

describe('a chat names', () => {
  test.each(ERAS)('what its list, its messages and its parameters name (%s)', async (era) => {
    const named = await ask(
      (database) => database.addChat({ id: 'chat', user: 'ada', chat: CHAT }),
      (stored) => everything(stored),
      era,
    );
    expect(named).toEqual(['answered', 'answered too', 'chosen', 'fallback', 'strange key']);
  });

  test('what its rows name', async () => {
    const named = await ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: {} });
        database.addChatMessage({ id: 'chat-a', chat: 'chat', user: 'ada', model: 'in a row' });
        database.addChatMessage({ id: 'chat-b', chat: 'chat', user: 'ada', role: 'user', model: null });
        database.addChatMessage({ id: 'other-a', chat: 'other', user: 'ada', model: 'elsewhere' });
      },
      (stored) => everything(stored),
    );
    expect(named).toEqual(['in a row']);
  });

  test('nothing where there is no such chat', async () => {
    expect(
      await ask(
        () => undefined,
        (stored) => everything(stored),
      ),
    ).toEqual([]);
  });

  test.each(onlyInFile('{"models": ["x"', 'no JSON', '{"history": {"messages": {"a": {"model": 1e999999, }}}}}'))(
    'something that no grant covers where its document cannot be read: %s',
    async (document) => {
      const named = await ask(
        (database) => {
          database.addChat({ id: 'chat', user: 'ada', chat: {} });
          database.run('UPDATE chat SET chat = ?', document);
        },
        (stored) => everything(stored),
      );
      expect(named).toHaveLength(1);
      expect(parseModelId(named[0])).toBeUndefined();
    },
  );

  testOfFile("what Python's JSON holds and others do not read, is still found", async () => {
    const named = await ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: {} });
        database.run('UPDATE chat SET chat = ?', '{"score": NaN, "high": Infinity, "models": ["hidden"]}');
      },
      (stored) => everything(stored),
    );
    expect(named).toEqual(['hidden']);
  });
});

describe('messages of a chat name', () => {
  const oneChat = (database: TestDatabase) => void database.addChat({ id: 'chat', user: 'ada', chat: CHAT });

  test('their own model and no other message’s', async () => {
    expect(await ask(oneChat, (stored) => at(stored, 'b'))).toEqual(['answered', 'answered too']);
    expect(await ask(oneChat, (stored) => at(stored, 'c"; --'))).toEqual(['strange key']);
    expect(await ask(oneChat, (stored) => at(stored, 'a'))).toEqual([]);
    expect(await ask(oneChat, (stored) => at(stored, 'nobody'))).toEqual([]);
    const placesOf = async (stored: Stored) => [...((await chatOf(stored, ['b']))?.names.places.values() ?? [])].flat();
    expect(new Set(await ask(oneChat, placesOf))).toEqual(new Set(['b']));
  });

  test('a model under either of its keys', async () => {
    const messages = { a: { model: 'one', model_id: 'other' }, b: { model: '', model_id: 'late' } };
    const prepare = (database: TestDatabase) =>
      void database.addChat({ id: 'chat', user: 'ada', chat: { history: { messages } } });
    expect(await ask(prepare, (stored) => at(stored, 'a'))).toEqual(['one', 'other']);
    expect(await ask(prepare, (stored) => at(stored, 'b'))).toEqual(['late']);
  });

  test('what the row says beside what the document says', async () => {
    const named = await ask(
      (database) => {
        oneChat(database);
        database.addChatMessage({ id: 'chat-b', chat: 'chat', user: 'ada', model: 'in the row' });
      },
      (stored) => at(stored, 'b'),
    );
    expect(named).toEqual(['answered', 'answered too', 'in the row']);
  });

  const pending = (fields: object) => ({
    history: { messages: { p: { id: 'p', role: 'user', model: 'later', content: 'x', childrenIds: [], ...fields } } },
  });
  const waiting = async (stored: Stored) => (await chatOf(stored, []))?.names.waiting ?? [];

  test.each([
    ['a sub-agent', { meta: { internal: true, type: 'subagent' } }],
    ['a sub-agent that waits', { meta: { internal: true, type: 'subagent', status: 'pending' } }],
    ['a timer', { meta: { internal: true, type: 'timer' } }],
    ['no list of children, whatever says that it answers', { meta: { internal: true }, childrenIds: {} }],
    ['children that are not there', { meta: { internal: true, type: 'timer' }, childrenIds: ['q'] }],
  ])('what the backend has left to run by itself: %s', async (_name, fields) => {
    const prepare = (database: TestDatabase) =>
      void database.addChat({ id: 'chat', user: 'ada', chat: pending(fields) });
    expect(await ask(prepare, waiting)).toEqual(['p']);
    expect(await ask(prepare, (stored) => at(stored, 'p'))).toEqual(['later']);
  });

  test('nothing left to run where another message answers, or where a person wrote', async () => {
    const answered = pending({ meta: { internal: true, type: 'timer' }, childrenIds: ['q'] });
    const chat = { history: { messages: { ...answered.history.messages, q: { id: 'q', parentId: 'p' } } } };
    expect(await ask((database) => void database.addChat({ id: 'chat', user: 'ada', chat }), waiting)).toEqual([]);
    const written = pending({ meta: { internal: false } });
    expect(await ask((database) => void database.addChat({ id: 'chat', user: 'ada', chat: written }), waiting)).toEqual(
      [],
    );
  });

  test('what the run of a timer names, with its parameters', async () => {
    const run = { model_id: 'by timer', chat_context: { params: { custom_params: { fallbacks: ['routed'] } } } };
    const prepare = (database: TestDatabase) => {
      database.addChat({ id: 'timer', user: 'eve', chat: {} });
      database.run("UPDATE chat SET meta = ? WHERE id = 'timer'", JSON.stringify({ run, timer_model_id: 'spare' }));
      const meta = { internal: true, type: 'timer', timer_id: 'timer' };
      database.addChat({ id: 'chat', user: 'ada', chat: pending({ meta, model: undefined }) });
    };
    expect(await ask(prepare, async (stored) => (await chatOf(stored))?.names.timers ?? [])).toEqual(['timer']);
    expect(await ask(prepare, (stored) => stored.ofTimers(['timer']))).toEqual(['by timer', 'routed', 'spare']);
    expect(await ask(prepare, (stored) => stored.ofTimers(['nobody']))).toEqual([]);
  });

  test('what their parameters and a stored call of an automation tool name', async () => {
    const output = [
      { type: 'function_call', name: 'update_automation', arguments: '{"model_id": "smuggled"}', status: 'pending' },
      { type: 'function_call', name: 'search', arguments: '{"model_id": "harmless"}' },
    ];
    const named = await ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: {} });
        database.addChatMessage({ id: 'chat-b', chat: 'chat', user: 'ada', model: 'answered' });
        database.run('UPDATE chat_message SET output = ?', JSON.stringify(output));
        database.run('UPDATE chat_message SET meta = ?', JSON.stringify({ params: { models: ['routed'] } }));
      },
      (stored) => namesAt(stored, 'b', parametersOf('b')),
    );
    expect(named).toEqual(['answered', 'routed', 'smuggled']);
  });
});

test.each([
  ['0.6.18', 'false'],
  ['0.12.4', 'true'],
] as const)('a chat says whose it is, and whether the backend checks that (%s)', async (era, isChecked) => {
  const prepare = (database: TestDatabase) => void database.addChat({ id: 'chat', user: 'ada', chat: CHAT });
  const owner = async (stored: Stored) => {
    const chat = await chatOf(stored);
    return [String(chat?.owner), String(chat?.checkedByBackend)];
  };
  expect(await ask(prepare, owner, era)).toEqual(['ada', isChecked]);
});

describe('other stored objects name', () => {
  test('the model that answered in a channel', async () => {
    const prepare = (database: TestDatabase) => {
      database.addChannelMessage({ id: 'm', user: 'ada', meta: { model_id: 'answered' } });
      database.addChannelMessage({ id: 'person', user: 'ada', meta: null });
    };
    expect(await ask(prepare, (stored) => stored.ofChannelMessage('m'))).toEqual(['answered']);
    expect(await ask(prepare, (stored) => stored.ofChannelMessage('person'))).toEqual([]);
  });

  test('the model of an automation', async () => {
    const prepare = (database: TestDatabase) =>
      void database.addAutomation({ id: 'auto', user: 'ada', data: { model_id: 'scheduled', prompt: 'x' } });
    expect(await ask(prepare, (stored) => stored.ofAutomation('auto'))).toEqual(['scheduled']);
    expect(
      await ask(
        () => undefined,
        (stored) => stored.ofAutomation('auto'),
        '0.6.18',
      ),
    ).toEqual([]);
  });

  test('what an earlier version of a preset names', async () => {
    const snapshot = { base_model_id: 'old base', params: { model: 'old parameter' }, meta: {} };
    const prepare = (database: TestDatabase) =>
      database.run(
        "INSERT INTO model_history (id, model_id, snapshot, user_id, created_at) VALUES ('v', 'preset', ?, 'ada', 1)",
        JSON.stringify(snapshot),
      );
    expect(await ask(prepare, (stored) => stored.ofPresetVersion('v'))).toEqual(['old base', 'old parameter']);
    expect(await ask(prepare, (stored) => stored.ofPresetVersion('w'))).toEqual([]);
  });

  test('what cannot be used, where they are longer than a request should wait for', async () => {
    const long = { content: 'x'.repeat(1_000_000) };
    const prepare = (database: TestDatabase) => {
      const meta = { model_id: 'A', run: { model_id: 'A' }, ...long };
      database.addChat({ id: 'timer', user: 'eve', chat: {} });
      database.run('UPDATE chat SET meta = ?', JSON.stringify(meta));
      database.addChannelMessage({ id: 'm', user: 'ada', meta });
      database.addAutomation({ id: 'auto', user: 'ada', data: { ...meta, prompt: 'x' } });
      database.run(
        "INSERT INTO model_history (id, model_id, snapshot, user_id, created_at) VALUES ('v', 'preset', ?, 'ada', 1)",
        JSON.stringify({ base_model_id: 'A', ...long }),
      );
    };
    const all = async (stored: Stored) => [
      ...[...(await stored.ofTimers(['timer'])), ...(await stored.ofChannelMessage('m'))],
      ...[...(await stored.ofAutomation('auto')), ...(await stored.ofPresetVersion('v'))],
    ];
    expect(await ask(prepare, all)).toEqual([UNREADABLE, UNREADABLE, UNREADABLE, UNREADABLE]);
  });
});
