import { describe, expect, test } from 'vitest';
import { parseModelId } from '../../../src/policy/model-id.ts';
import type { StoredReferences } from '../../../src/store/store-view.ts';
import type { TestDatabase } from '../../support/database.ts';
import { createDatabase, ERAS } from '../../support/database.ts';
import { openStore } from '../../support/opened-store.ts';

/** Asks the store of a fresh database once; names are sorted, so that their order says nothing. */
function ask(
  prepare: (database: TestDatabase) => void,
  query: (stored: StoredReferences) => readonly string[],
  era: '0.6.18' | '0.12.4' = '0.12.4',
): string[] {
  using database = createDatabase({ era });
  database.addUser({ id: 'ada' });
  prepare(database);
  using opened = openStore(database.path);
  return [...query(opened.next().stored)].sort();
}

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
  test.each(ERAS)('what its list, its messages and its parameters name (%s)', (era) => {
    const named = ask(
      (database) => database.addChat({ id: 'chat', user: 'ada', chat: CHAT }),
      (stored) => stored.ofChat('chat'),
      era,
    );
    expect(named).toEqual(['answered', 'answered too', 'chosen', 'fallback', 'strange key']);
  });

  test('what its rows name', () => {
    const named = ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: {} });
        database.addChatMessage({ id: 'chat-a', chat: 'chat', user: 'ada', model: 'in a row' });
        database.addChatMessage({ id: 'chat-b', chat: 'chat', user: 'ada', role: 'user', model: null });
        database.addChatMessage({ id: 'other-a', chat: 'other', user: 'ada', model: 'elsewhere' });
      },
      (stored) => stored.ofChat('chat'),
    );
    expect(named).toEqual(['in a row']);
  });

  test('nothing where there is no such chat', () => {
    expect(
      ask(
        () => undefined,
        (stored) => stored.ofChat('chat'),
      ),
    ).toEqual([]);
  });

  test.each(['{"models": ["x"', 'no JSON', '{"history": {"messages": {"a": {"model": 1e999999, }}}}}'])(
    'something that no grant covers where its document cannot be read: %s',
    (document) => {
      const named = ask(
        (database) => {
          database.addChat({ id: 'chat', user: 'ada', chat: {} });
          database.run('UPDATE chat SET chat = ?', document);
        },
        (stored) => stored.ofChat('chat'),
      );
      expect(named).toHaveLength(1);
      expect(parseModelId(named[0])).toBeUndefined();
    },
  );

  test("what Python's JSON holds and others do not read, is still found", () => {
    const named = ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: {} });
        database.run('UPDATE chat SET chat = ?', '{"score": NaN, "high": Infinity, "models": ["hidden"]}');
      },
      (stored) => stored.ofChat('chat'),
    );
    expect(named).toEqual(['hidden']);
  });
});

describe('messages of a chat name', () => {
  const oneChat = (database: TestDatabase) => void database.addChat({ id: 'chat', user: 'ada', chat: CHAT });

  test('their own model and no other message’s', () => {
    expect(ask(oneChat, (stored) => stored.ofChatMessages('chat', ['b']))).toEqual(['answered']);
    expect(ask(oneChat, (stored) => stored.ofChatMessages('chat', ['c"; --']))).toEqual(['strange key']);
    expect(ask(oneChat, (stored) => stored.ofChatMessages('chat', ['a', 'nobody']))).toEqual([]);
    expect(ask(oneChat, (stored) => stored.ofChatMessages('chat', []))).toEqual([]);
  });

  test('what the row says beside what the document says', () => {
    const named = ask(
      (database) => {
        oneChat(database);
        database.addChatMessage({ id: 'chat-b', chat: 'chat', user: 'ada', model: 'in the row' });
      },
      (stored) => stored.ofChatMessages('chat', ['b']),
    );
    expect(named).toEqual(['answered', 'in the row']);
  });

  const pending = (fields: object) => ({
    history: { messages: { p: { id: 'p', role: 'user', model: 'later', content: 'x', childrenIds: [], ...fields } } },
  });

  test.each([
    ['a sub-agent', { meta: { internal: true, type: 'subagent' } }],
    ['a sub-agent that waits', { meta: { internal: true, type: 'subagent', status: 'pending' } }],
    ['a timer', { meta: { internal: true, type: 'timer' } }],
    ['children in a form that Python takes for none', { meta: { internal: true, type: 'timer' }, childrenIds: {} }],
  ])('what the backend has left to run by itself: %s', (_name, fields) => {
    const named = ask(
      (database) => void database.addChat({ id: 'chat', user: 'ada', chat: pending(fields) }),
      (stored) => stored.ofChatMessages('chat', []),
    );
    expect(named).toEqual(['later']);
  });

  test.each([
    ['written by a model', { role: 'assistant', meta: { internal: true } }],
    ['answered already', { meta: { internal: true, type: 'timer' }, childrenIds: ['q'] }],
    ['written by a person', { meta: { internal: false } }],
  ])('nothing more for a message that was %s', (_name, fields) => {
    const named = ask(
      (database) => void database.addChat({ id: 'chat', user: 'ada', chat: pending(fields) }),
      (stored) => stored.ofChatMessages('chat', []),
    );
    expect(named).toEqual([]);
  });

  test('what the run of a timer names, with its parameters', () => {
    const run = { model_id: 'by timer', chat_context: { params: { custom_params: { fallbacks: ['routed'] } } } };
    const prepare = (database: TestDatabase) => {
      database.addChat({ id: 'timer', user: 'eve', chat: {} });
      database.run("UPDATE chat SET meta = ? WHERE id = 'timer'", JSON.stringify({ run }));
      const meta = { internal: true, type: 'timer', timer_id: 'timer' };
      database.addChat({ id: 'chat', user: 'ada', chat: pending({ meta, model: undefined }) });
    };
    expect(ask(prepare, (stored) => stored.ofChatMessages('chat', []))).toEqual(['by timer', 'routed']);
    expect(ask(prepare, (stored) => stored.ofTimer('timer'))).toEqual(['by timer', 'routed']);
    expect(ask(prepare, (stored) => stored.ofTimer('nobody'))).toEqual([]);
  });

  test('what a stored call of an automation tool would write', () => {
    const output = [
      { type: 'function_call', name: 'update_automation', arguments: '{"model_id": "smuggled"}', status: 'pending' },
      { type: 'function_call', name: 'search', arguments: '{"model_id": "harmless"}' },
    ];
    const named = ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: {} });
        database.addChatMessage({ id: 'chat-b', chat: 'chat', user: 'ada', model: 'answered' });
        database.run('UPDATE chat_message SET output = ?', JSON.stringify(output));
      },
      (stored) => stored.ofChatMessages('chat', ['b']),
    );
    expect(named).toEqual(['answered', 'smuggled']);
  });
});

describe('resuming a tool call runs', () => {
  test('the model of the message, with the parameters of chat and message', () => {
    const named = ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: CHAT });
        database.addChatMessage({ id: 'chat-m', chat: 'chat', user: 'ada', model: 'asked' });
        database.run('UPDATE chat_message SET meta = ?', JSON.stringify({ params: { models: ['from the message'] } }));
      },
      (stored) => stored.ofToolApproval('chat', 'm'),
    );
    expect(named).toEqual(['asked', 'fallback', 'from the message']);
  });

  test('the first model of the chat where the message names none', () => {
    const named = ask(
      (database) => {
        database.addChat({ id: 'chat', user: 'ada', chat: { models: ['first', 'second'] } });
        database.addChatMessage({ id: 'chat-m', chat: 'chat', user: 'ada', model: null });
      },
      (stored) => stored.ofToolApproval('chat', 'm'),
    );
    expect(named).toEqual(['first']);
  });
});

describe('other stored objects name', () => {
  test('the model that answered in a channel', () => {
    const prepare = (database: TestDatabase) => {
      database.addChannelMessage({ id: 'm', user: 'ada', meta: { model_id: 'answered' } });
      database.addChannelMessage({ id: 'person', user: 'ada', meta: null });
    };
    expect(ask(prepare, (stored) => stored.ofChannelMessage('m'))).toEqual(['answered']);
    expect(ask(prepare, (stored) => stored.ofChannelMessage('person'))).toEqual([]);
  });

  test('the model of an automation', () => {
    const prepare = (database: TestDatabase) =>
      void database.addAutomation({ id: 'auto', user: 'ada', data: { model_id: 'scheduled', prompt: 'x' } });
    expect(ask(prepare, (stored) => stored.ofAutomation('auto'))).toEqual(['scheduled']);
    expect(
      ask(
        () => undefined,
        (stored) => stored.ofAutomation('auto'),
        '0.6.18',
      ),
    ).toEqual([]);
  });

  test('what an earlier version of a preset names', () => {
    const snapshot = { base_model_id: 'old base', params: { model: 'old parameter' }, meta: {} };
    const prepare = (database: TestDatabase) =>
      database.run(
        "INSERT INTO model_history (id, model_id, snapshot, user_id, created_at) VALUES ('v', 'preset', ?, 'ada', 1)",
        JSON.stringify(snapshot),
      );
    expect(ask(prepare, (stored) => stored.ofPresetVersion('v'))).toEqual(['old base', 'old parameter']);
    expect(ask(prepare, (stored) => stored.ofPresetVersion('w'))).toEqual([]);
  });
});
