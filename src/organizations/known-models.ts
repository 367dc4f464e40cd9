/**
 * Model ids that the backend's file gives away. Never all of them: the models of a provider are asked for at run time,
 * and most of them stand nowhere in the file. So an id that is known is a help, and one that is not is no mistake.
 */
import { createSettings, idsOf, isRecord } from '../backend-file/backend.ts';
import { nearest } from '../nearest.ts';
import type { Connection } from '../store/database.ts';
import type { Schema } from '../store/schema-reader.ts';
import { columnsOf } from '../store/schema-reader.ts';

/** @returns ids of presets and overridden models, of functions, of arenas, and those that connections list one by one */
export function readKnownModels(connection: Connection, schema: Schema): ReadonlySet<string> {
  const known = new Set(connection.prepare<[], string>('SELECT id FROM model').pluck().all());
  if (columnsOf(connection, 'function').has('type')) {
    const pipes = connection.prepare<[], string>("SELECT id FROM function WHERE type = 'pipe'").pluck();
    for (const id of pipes.all()) known.add(id);
  }
  const setting = createSettings(connection, schema);
  for (const key of ['openai.api_configs', 'ollama.api_configs'] as const) {
    for (const id of modelsOfConnections(setting(key))) known.add(id);
  }
  for (const id of idsOf(setting('evaluation.arena.models'))) known.add(id);
  return known;
}

/** @returns what differs in its letter case, or only lacks the provider before it or the tag behind it; else the nearest */
export function closestModel(id: string, known: Iterable<string>): string | undefined {
  const ids = [...known];
  const typed = id.trim().toLowerCase();
  const alike = ids.find((candidate) => {
    const other = candidate.toLowerCase();
    return [typed, `${typed}:latest`].includes(other) || other.endsWith(`/${typed}`) || other.endsWith(`.${typed}`);
  });
  return alike ?? nearest(typed, ids);
}

/** `{"0": {"prefix_id": "eu", "model_ids": ["gpt-4o"]}}` gives `eu.gpt-4o` (routers/openai.py, 0.6.18 and 0.12.4). */
function modelsOfConnections(connections: unknown): readonly string[] {
  if (!isRecord(connections)) return [];
  return Object.values(connections)
    .filter(isRecord)
    .flatMap(({ prefix_id: prefix, model_ids: ids }) =>
      (Array.isArray(ids) ? ids : [])
        .filter((id) => typeof id === 'string')
        .map((id) => (typeof prefix === 'string' && prefix !== '' ? `${prefix}.${id}` : id)),
    );
}

/** @returns whether an answer that is stored came from this model; false where the file cannot tell quickly */
export function createUseFinder(connection: Connection, { chatMessage }: Schema): (model: string) => boolean {
  // the model of each answer has a column of its own from 0.8.0 on; without its index the whole table would be read
  const isQuick =
    chatMessage &&
    connection
      .prepare(
        `SELECT 1 FROM pragma_index_list('chat_message') list, pragma_index_info(list.name) info
         WHERE info.seqno = 0 AND info.name = 'model_id'`,
      )
      .get() !== undefined;
  if (!isQuick) return () => false;
  const statement = connection.prepare('SELECT 1 FROM chat_message WHERE model_id = ? LIMIT 1');
  return (model) => statement.get(model) !== undefined;
}
