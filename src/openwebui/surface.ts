/** What an endpoint does with models: the kinds of a surface. The table of endpoints stands in `surfaces.ts`. */
import type { Dialect } from '../enforcement/answers.ts';
import type { NameSpace } from '../enforcement/judge.ts';
import type { ListShape } from '../enforcement/list-index.ts';
import type { ReferenceRules } from '../references/references.ts';
import type { ChatForm, PresetForm } from '../references/records.ts';

/** A stored object that the endpoint runs, and where its id stands. The database is asked which models it names. */
export type StoredRun =
  /** the messages of `chat_id` that the body names: background tasks run on the model that they store */
  | 'messages_of_body'
  /** the tool call of the path's `:message` in chat `:id`, which resumes a completion */
  | 'message_of_path'
  /** any message of the path's chat `:id`, unless the body names a model */
  | 'chat_of_path'
  /** the channel message of `reply_to_id` in the body */
  | 'replied_message'
  /** the automation of the path's `:id` */
  | 'automation_of_path'
  /** the earlier version `version_id` of a preset, which becomes the current one */
  | 'preset_version';

export interface ListsSurface {
  readonly kind: 'lists';
  readonly dialect: Dialect;
  readonly shape: ListShape;
  /** `/api/config` serves the sign-in page too: without a user, or without policy, it shows no model and goes on. */
  readonly public?: true;
  /** Pages on which the backend's admins manage what exists are shown to them whole. */
  readonly admins: 'filter' | 'pass';
  readonly names: NameSpace;
  /** The backend searches and counts entries that the caller may not see: the gate does it instead. */
  readonly paged?: 'entries' | 'tags';
}

export interface InvokesSurface {
  readonly kind: 'invokes';
  readonly dialect: Dialect;
  readonly rules: ReferenceRules;
  /** Whether the request is malformed when it names no model. */
  readonly modelRequired: boolean;
  readonly names: NameSpace;
  /** Query key that names a model, besides or instead of the body. */
  readonly query?: string;
  /** Where models are mentioned in text: `<@M:id>` in a channel message. */
  readonly mentions?: true;
  /** Whether the backend heeds `model_item.direct` here; elsewhere it runs the model that is named. */
  readonly direct?: true;
  readonly runs?: StoredRun;
  /** Where the answer names further models. */
  readonly answer?: ListShape;
  /** False where the request names models, which must be permitted, and runs none of them now: limits on running do not count it. */
  readonly runsNow: boolean;
  /**
   * Where a denied request is sent instead: pictures in old chats fall back to the default picture, as the backend
   * itself does for models that it does not know.
   */
  readonly insteadOfDenial?: string;
}

export interface ManagesSurface {
  readonly kind: 'manages';
  readonly dialect: Dialect;
  /** Which form the body has (routers/models.py). */
  readonly form: PresetForm;
}

/** Saves a chat or a part of it: what the backend may run later. */
export interface SavesSurface {
  readonly kind: 'saves';
  readonly dialect: Dialect;
  readonly form: ChatForm;
}

export type Surface =
  | ListsSurface
  | InvokesSurface
  | ManagesSurface
  | SavesSurface
  /** Passes untouched. `unlisted`: not in this table, so a JSON body is still searched for model names. */
  | { readonly kind: 'neutral'; readonly unlisted?: true }
  /**
   * For the backend's admins only: management, catch-alls, and index variants whose ids are ambiguous. `judged`: what
   * an admin sends there may run a model, so the models that it names are judged as everywhere.
   */
  | { readonly kind: 'refused'; readonly judged?: true };
