/**
 * Brings what a request names before the one decision of `policy/decide.ts`. Every surface asks here, so that lists,
 * invocations and stored references cannot come to different answers.
 */
import type { Principal, UserPrincipal } from '../identity/principal.ts';
import { type PolicyView, decide, isProviders } from '../policy/decide.ts';
import { type Decision, deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import type { Need } from '../store/store-view.ts';

/**
 * Which ids are the providers' own, as the backend's lists said before they were filtered: a preset on such an id would
 * redirect all users of it. What has not been listed since the start is unknown here, and the grants alone protect it.
 */
type ProviderModels = ReturnType<typeof createProviderModels>;

/** More than any provider lists; beyond it nothing is learnt. */
const MAX_IDS = 20_000;

export function createProviderModels() {
  const ids = new Set<string>();
  return {
    learn(listed: readonly string[]): void {
      for (const id of listed) {
        if (ids.size >= MAX_IDS) return;
        // A row on the part before the tag changes what all users see of the model (utils/models.py)
        ids.add(id).add(id.split(':', 1)[0] ?? '');
      }
    },
    has: (id: string): boolean => ids.has(id),
  };
}

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

export type Judge = ReturnType<typeof createJudge>;

export function createJudge(options: JudgeOptions, providerModels: ProviderModels = createProviderModels()) {
  function one(view: PolicyView, principal: Principal, model: ModelId, names: NameSpace = 'chat'): Decision {
    if (principal.kind !== 'user') return deny('not_authenticated', model);
    if (names === 'chat') return decide(view, principal, model, options);
    const ask = (id: ModelId): Decision => decide(view, principal, id, options);
    switch (names) {
      case 'provider':
        return ofProvider(view, ask(model), model);
      case 'ollama':
        return judgeOllama(view, ask, model);
      case 'ollama_raw':
        return judgeOllamaRaw(view, ask, model);
      case 'media':
        return judgeMedia(options, ask(model), model);
    }
  }

  return {
    options,
    providerModels,
    one,
    /** @returns the first denial, or the permit of the first model; undefined if there was none to judge */
    all(view: PolicyView, principal: Principal, models: Iterable<ModelId>, names?: NameSpace): Decision | undefined {
      let first: Decision | undefined;
      for (const model of models) {
        const decision = one(view, principal, model, names);
        if (decision.effect === 'deny') return decision;
        first ??= decision;
      }
      return first;
    },
    needs(user: UserPrincipal, models: () => Iterable<string>): Need {
      if (user.role === 'admin' && options.adminAccess === 'all') return {};
      return { user, models: () => [...models()].flatMap((model) => [model as ModelId, tagged(model as ModelId)]) };
    },
  };
}

type Ask = (model: ModelId) => Decision;

/** What runs is the preset's base, which gets its tag in turn, or else the model by that name. */
function judgeOllama(view: PolicyView, ask: Ask, model: ModelId): Decision {
  const base = view.preset(model)?.base;
  if (base === undefined) return byOwnGrant(ask(tagged(model)));
  const decision = ask(model);
  if (decision.effect === 'deny' || decision.reason !== 'preset_base') return decision;
  const ofBase = byOwnGrant(ask(tagged(base)));
  return ofBase.effect === 'permit' ? decision : deny('preset_base_not_granted', model, decision.chain);
}

/** Some releases look for a preset of exactly this name first, some for one with the tag, some for none. */
function judgeOllamaRaw(view: PolicyView, ask: Ask, model: ModelId): Decision {
  const decision = byOwnGrant(ask(tagged(model)));
  if (decision.effect === 'deny' || view.preset(model)?.base === undefined) return decision;
  const ofPreset = ask(model);
  return ofPreset.effect === 'deny' ? ofPreset : decision;
}

function judgeMedia({ mediaModels }: JudgeOptions, decision: Decision, model: ModelId): Decision {
  if (decision.effect === 'permit' || decision.reason === 'role_not_permitted') return decision;
  // The answer must not depend on what other organizations were granted: any means any
  const isListed = mediaModels === 'any' ? !PATH_CHARACTERS.test(model) : mediaModels.has(model);
  if (!isListed) return deny('media_model_not_listed', model);
  return { effect: 'permit', reason: 'media_model', model, chain: [model] };
}

/** A grant of a preset, or of a model that picks others, says nothing of a provider's model that is called the same. */
function ofProvider(view: PolicyView, decision: Decision, model: ModelId): Decision {
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
