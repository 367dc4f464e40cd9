import type { Principal, UserPrincipal } from '../identity/principal.ts';
import { decide, isProviders } from '../policy/decide.ts';
import { type Decision, deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import { isObject } from '../references/json.ts';
import type { Need, StoreView } from '../store/store-view.ts';

/**
 * Which ids are the providers' own, as the backend's lists said before they were filtered. The database does not know
 * them: a provider model needs no row. Kept because a preset on such an id would redirect all users of it; what
 * has not been listed since the start is unknown here, and then the grants alone protect it.
 */
export interface ProviderModels {
  /** @param ids of `providerIdsIn` */
  learn(ids: readonly string[]): void;
  has(id: string): boolean;
}

/** More than any provider lists; beyond it nothing is learnt, so that the memory stays bounded. */
const MAX_IDS = 20_000;

export function createProviderModels(): ProviderModels {
  const ids = new Set<string>();
  return {
    learn(listed) {
      for (const id of listed) {
        if (ids.size >= MAX_IDS) return;
        // A row on the part before the tag changes what all users see of the model (utils/models.py)
        ids.add(id).add(id.split(':', 1)[0] ?? '');
      }
    },
    has: (id) => ids.has(id),
  };
}

/** @param list the parsed answer of a route of the shape `models`: `{data: [{id, preset?, arena?}]}` */
export function providerIdsIn(list: unknown): readonly string[] {
  const entries = isObject(list) && Array.isArray(list['data']) ? (list['data'] as unknown[]) : [];
  return entries.flatMap((entry) =>
    isObject(entry) && entry['preset'] !== true && typeof entry['id'] === 'string' ? [entry['id']] : [],
  );
}

// Brings what a request names before the one decision of `policy/decide.ts`. Every surface asks here, so that lists,
// invocations and stored references cannot come to different answers.

interface JudgeOptions {
  readonly adminAccess: 'organization' | 'all';
  readonly directConnections: 'refuse' | 'allow';
  /** `any`, or the image and speech models that every user with a session may use. */
  readonly mediaModels: 'any' | ReadonlySet<string>;
}

/**
 * What a surface's model names stand for.
 * - `chat`: an id of `/api/models`, presets included.
 * - `provider`: sent to the provider as it is; a preset of that name is not resolved (`/openai/responses`, embeddings),
 *   so being permitted through its base must not open a provider model of the same name.
 * - `ollama`, `ollama_raw`: the same two, for routes where a name without a tag means `name:latest`.
 * - `media`: image and speech models, a name space of their own.
 */
export type NameSpace = 'chat' | 'provider' | 'ollama' | 'ollama_raw' | 'media';

export interface Judge {
  one(view: StoreView, principal: Principal, model: ModelId, names?: NameSpace): Decision;
  /** @returns the first denial, or the permit of the first model; undefined if there was none to judge */
  all(view: StoreView, principal: Principal, models: Iterable<ModelId>, names?: NameSpace): Decision | undefined;
  /** @returns what the decisions about these names look up */
  needs(user: UserPrincipal, models: () => Iterable<string>): Need;
  readonly options: JudgeOptions;
  readonly providerModels: ProviderModels;
}

/** @param providerModels filled from the backend's lists */
export function createJudge(options: JudgeOptions, providerModels: ProviderModels = createProviderModels()): Judge {
  function one(view: StoreView, principal: Principal, model: ModelId, names: NameSpace = 'chat'): Decision {
    if (principal.kind !== 'user') return deny('not_authenticated', model);
    switch (names) {
      case 'chat':
        return decide(view, principal, model, options);
      case 'provider':
        return ofProvider(view, decide(view, principal, model, options), model);
      case 'ollama':
        return judgeOllama(view, principal, model);
      case 'ollama_raw':
        return judgeOllamaRaw(view, principal, model);
      case 'media':
        return judgeMedia(options, decide(view, principal, model, options), model);
    }
  }

  /** What runs is the preset's base, which gets its tag in turn, or else the model by that name. */
  function judgeOllama(view: StoreView, user: UserPrincipal, model: ModelId): Decision {
    const base = view.preset(model)?.base;
    if (base === undefined) return byOwnGrant(decide(view, user, tagged(model), options));
    const decision = decide(view, user, model, options);
    if (decision.effect === 'deny' || decision.reason !== 'preset_base') return decision;
    const ofBase = byOwnGrant(decide(view, user, tagged(base), options));
    return ofBase.effect === 'permit' ? decision : deny('preset_base_not_granted', model, decision.chain);
  }

  /** Some releases look for a preset of exactly this name first, some for one with the tag, some for none. */
  function judgeOllamaRaw(view: StoreView, user: UserPrincipal, model: ModelId): Decision {
    const decision = byOwnGrant(decide(view, user, tagged(model), options));
    if (decision.effect === 'deny' || view.preset(model)?.base === undefined) return decision;
    const ofPreset = decide(view, user, model, options);
    return ofPreset.effect === 'deny' ? ofPreset : decision;
  }

  function all(
    view: StoreView,
    principal: Principal,
    models: Iterable<ModelId>,
    names?: NameSpace,
  ): Decision | undefined {
    let first: Decision | undefined;
    for (const model of models) {
      const decision = one(view, principal, model, names);
      if (decision.effect === 'deny') return decision;
      first ??= decision;
    }
    return first;
  }

  function needs(user: UserPrincipal, models: () => Iterable<string>): Need {
    if (user.role === 'admin' && options.adminAccess === 'all') return {};
    return { user, models: () => [...models()].flatMap((model) => [model as ModelId, tagged(model as ModelId)]) };
  }

  return { one, all, needs, options, providerModels };
}

function judgeMedia({ mediaModels }: JudgeOptions, decision: Decision, model: ModelId): Decision {
  if (decision.effect === 'permit' || decision.reason === 'role_not_permitted') return decision;
  const listed =
    mediaModels === 'any'
      ? // The answer must not depend on what other organizations were granted: any means any
        !PATH_CHARACTERS.test(model)
      : mediaModels.has(model);
  return listed
    ? { effect: 'permit', reason: 'media_model', model, chain: [model] }
    : deny('media_model_not_listed', model);
}

/** A grant of a preset, or of a model that picks others, says nothing of a provider's model that is called the same. */
function ofProvider(view: StoreView, decision: Decision, model: ModelId): Decision {
  if (decision.effect === 'deny' || decision.reason === 'admin_access') return decision;
  return isProviders(view, model) ? byOwnGrant(decision) : deny('not_granted', model, [model]);
}

function byOwnGrant(decision: Decision): Decision {
  const throughBase = decision.effect === 'permit' && decision.reason === 'preset_base';
  return throughBase ? deny('not_granted', decision.model, decision.chain) : decision;
}

/** Ollama, and the backend up to 0.8, read `llama3` as `llama3:latest`, whatever preset is called `llama3`. */
const tagged = (model: ModelId): ModelId => (model.includes(':') ? model : (`${model}:latest` as ModelId));

/** The backend puts a media model's name into a provider's URL (Gemini images): it must stay one segment there. */
const PATH_CHARACTERS = /\.\.|[?#%\\]/;
