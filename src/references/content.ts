/** What of a request is its caller's own content, in which a name runs nothing. */

/** What people wrote, what they attached, what ran before, and schemas: a name in there runs nothing. */
export const CONTENT: ReadonlySet<string> = new Set([
  'messages',
  'history',
  'files',
  'variables',
  'chat_variables',
  'user_message',
  'parent_message',
  'tool_servers',
  'input_schema',
  'json_schema',
]);

/**
 * Objects that hold the parameters of a run: the body itself and what the backend merges into it (utils/payload.py).
 * Only there do the keys below stand for a schema or for the caller's own labels.
 */
export const PARAMETERS: ReadonlySet<string> = new Set(['params', 'custom_params', 'extra_body']);

/**
 * Content of a request's parameters, by the path of keys from the parameters on. Sources: OpenAI API reference
 * (`metadata`, `response_format`, `text.format`), Ollama API (`format`), vLLM (`guided_json`, `structured_outputs`),
 * Anthropic API (`output_config.format`).
 */
const PARAMETER_CONTENT: readonly (readonly string[])[] = [
  ['metadata'],
  ['format'],
  ['guided_json'],
  ['guided_decoding'],
  ['structured_outputs'],
  ['response_format'],
  ['text', 'format'],
  ['output_config', 'format'],
];

/** A schema is an object; under a key that expects one, a name of a model would be a string or a list. */
export function isParameterContent(path: readonly string[] | undefined, value: unknown): boolean {
  if (path === undefined || typeof value !== 'object' || Array.isArray(value)) return false;
  return PARAMETER_CONTENT.some((keys) => keys.length === path.length && keys.every((key, at) => key === path[at]));
}
