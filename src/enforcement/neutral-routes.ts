/**
 * Routes under `/api` that were read in the source of both pinned releases and run no model that a request names.
 * They pass untouched, bodies included: chats, settings and feedback may rightly name models of the past.
 * What stands in neither table is `unlisted`: it passes too, but a JSON body is searched for model names first.
 */
import type { Route } from './surfaces.ts';

const NEUTRAL = { kind: 'neutral' } as const;

const PREFIXES: readonly string[] = [
  '/api/changelog',
  '/api/events',
  '/api/tasks',
  '/api/version',
  '/api/webhook',
  '/api/v1/analytics',
  '/api/v1/apps',
  '/api/v1/audio',
  '/api/v1/auths',
  '/api/v1/automations',
  '/api/v1/calendars',
  '/api/v1/channels',
  '/api/v1/chats',
  '/api/v1/configs',
  '/api/v1/evaluations',
  '/api/v1/files',
  '/api/v1/folders',
  '/api/v1/functions',
  '/api/v1/groups',
  '/api/v1/images',
  '/api/v1/knowledge',
  '/api/v1/memories',
  '/api/v1/notes',
  '/api/v1/notifications',
  '/api/v1/pipelines',
  '/api/v1/prompts',
  '/api/v1/retrieval',
  '/api/v1/scim',
  '/api/v1/search',
  '/api/v1/skills',
  '/api/v1/terminals',
  '/api/v1/tools',
  '/api/v1/users',
  '/api/v1/utils',
];

export const NEUTRAL_ROUTES: readonly Route[] = PREFIXES.flatMap((prefix): Route[] => [
  ['*', prefix, NEUTRAL],
  ['*', `${prefix}/**`, NEUTRAL],
]);
