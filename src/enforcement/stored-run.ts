import type { StoredReferences } from '../store/store-view.ts';
import { isObject } from './model-references.ts';
import type { StoredRun } from './surfaces.ts';

/**
 * Which models a request would run without naming them, because a stored object names them.
 *
 * @param pathIds ids in the path: `id` of the chat, channel or automation, `message` of a chat's message
 * @param body parsed JSON or undefined
 */
export function modelsOfStoredRun(
  run: StoredRun,
  stored: StoredReferences,
  pathIds: Readonly<Record<string, string>>,
  body: unknown,
): readonly string[] {
  const form = isObject(body) ? body : {};
  const { id = '', message = '' } = pathIds;
  switch (run) {
    case 'messages_of_body': {
      // The backend makes strings of other values, so that 7 finds the message "7": '' names no valid model
      if (IDS.some((key) => isNamed(form[key]) && typeof form[key] !== 'string')) return [''];
      // What comes from an SDK belongs to no chat: nothing is stored, and no query is made
      const chat = text(form['chat_id']);
      return chat === '' ? [] : stored.ofChatMessages(chat, messageIds(form));
    }
    case 'message_of_path':
      return stored.ofToolApproval(id, message);
    case 'chat_of_path':
      // With a model in the body nothing stored is run
      return text(form['model']) === '' ? stored.ofChat(id) : [];
    case 'replied_message':
      return stored.ofChannelMessage(text(form['reply_to_id']));
    case 'automation_of_path':
      return stored.ofAutomation(id);
    case 'preset_version':
      return stored.ofPresetVersion(text(form['version_id']));
  }
}

/**
 * Messages on whose stored model background tasks run: the one being continued (0.12), and, unless the provider
 * streams its answer, the one being answered (0.6). `stream` does not tell: `params`, a preset and the provider itself
 * may have it otherwise.
 */
const messageIds = (form: Record<string, unknown>) =>
  [form['assistant_message_id'], form['id']].map(text).filter(Boolean);

const IDS = ['chat_id', 'id', 'assistant_message_id'];
const isNamed = (value: unknown): boolean => value !== undefined && value !== null;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
