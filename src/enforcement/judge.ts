/** Brings names before the one decision. Every surface asks here, so that lists and invocations cannot differ. */
import type { Principal, UserPrincipal } from '../policy/principal.ts';
import { type PolicyView, decide, isProviders } from '../policy/decide.ts';
import { type Decision, deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import type { Need } from '../store/foresight.ts';

/** More than any provider lists; beyond it nothing is learnt. */
const MAX_IDS = 20_000;

/**
 * Which ids are the providers' own, as unfiltered lists said: a preset on such an id would redirect all users of it. What
 * has not been listed since the start is protected by the grants alone.
 */
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

type Ask = (model: ModelId) => Decision;

/** What a surface's model names stand for. */
const NAME_SPACES = {
  /** An id of `/api/models`, presets included. */
  chat: (_view: PolicyView, ask: Ask, model: ModelId) => ask(model),
  /**
   * Sent to the provider as it is (`/openai/responses`, embeddings): no preset of that name is resolved. A grant of a
   * preset, or of a model that picks others, says nothing of a provider's model that is called the same.
   */
  provider(view: PolicyView, ask: Ask, model: ModelId): Decision {
    const decision = ask(model);
    if (decision.effect === 'deny' || decision.reason === 'admin_access') return decision;
    return isProviders(view, model) ? byOwnGrant(decision) : deny('not_granted', model, [model]);
  },
  /** A name without a tag means `name:latest`. The preset's base runs, which gets its tag in turn, or else the model. */
  ollama(view: PolicyView, ask: Ask, model: ModelId): Decision {
    const base = view.preset(model)?.base;
    if (base === undefined) return byOwnGrant(ask(tagged(model)));
    const decision = ask(model);
    if (decision.effect === 'deny' || decision.reason !== 'preset_base') return decision;
    const ofBase = byOwnGrant(ask(tagged(base)));
    return ofBase.effect === 'permit' ? decision : deny('preset_base_not_granted', model, decision.chain);
  },
  /** The same, where a release looks for a preset of exactly this name first, or for one with the tag, or for none. */
  ollama_raw(view: PolicyView, ask: Ask, model: ModelId): Decision {
    const decision = byOwnGrant(ask(tagged(model)));
    if (decision.effect === 'deny' || view.preset(model)?.base === undefined) return decision;
    const ofPreset = ask(model);
    return ofPreset.effect === 'deny' ? ofPreset : decision;
  },
  /** Image and speech models, a name space of their own. */
  media(_view: PolicyView, ask: Ask, model: ModelId, { mediaModels }: JudgeOptions): Decision {
    const decision = ask(model);
    if (decision.effect === 'permit' || decision.reason === 'role_not_permitted') return decision;
    // The answer must not depend on what other organizations were granted: any means any
    const isListed = mediaModels === 'any' ? !PATH_CHARACTERS.test(model) : mediaModels.has(model);
    if (!isListed) return deny('media_model_not_listed', model);
    return { effect: 'permit', reason: 'media_model', model, chain: [model] };
  },
};

export type NameSpace = keyof typeof NAME_SPACES;

export type Judge = ReturnType<typeof createJudge>;

export function createJudge(options: JudgeOptions, providerModels = createProviderModels()) {
  function one(view: PolicyView, principal: Principal, model: ModelId, names: NameSpace = 'chat'): Decision {
    if (principal.kind !== 'user') return deny('not_authenticated', model);
    return NAME_SPACES[names](view, (id) => decide(view, principal, id, options), model, options);
  }

  return {
    options,
    providerModels,
    one,
    all: (view: PolicyView, principal: Principal, models: Iterable<ModelId>, names?: NameSpace): Decision | undefined =>
      firstDenial(models, (model) => one(view, principal, model, names)),
    needs(user: UserPrincipal, models: () => Iterable<string>): Need {
      if (user.role === 'admin' && options.adminAccess === 'all') return {};
      return { user, models: () => spellings(models()) };
    },
    spellings,
  };
}

/** @returns the ids that these names may stand for */
function spellings(names: Iterable<string>): readonly ModelId[] {
  return [...names].flatMap((name) => [name as ModelId, tagged(name as ModelId)]);
}

/** @returns the first denial, or the first permit; undefined if there was nothing to judge */
export function firstDenial<T>(items: Iterable<T>, judgeOne: (item: T) => Decision | undefined): Decision | undefined {
  let first: Decision | undefined;
  for (const item of items) {
    const decision = judgeOne(item);
    if (decision?.effect === 'deny') return decision;
    first ??= decision;
  }
  return first;
}

function byOwnGrant(decision: Decision): Decision {
  const throughBase = decision.effect === 'permit' && decision.reason === 'preset_base';
  return throughBase ? deny('not_granted', decision.model, decision.chain) : decision;
}

/** Ollama, and the backend up to 0.8, read `llama3` as `llama3:latest`, whatever preset is called `llama3`. */
const tagged = (model: ModelId): ModelId => (model.includes(':') ? model : (`${model}:latest` as ModelId));

/** The backend puts a media model's name into a provider's URL (Gemini images): it must stay one segment there. */
const PATH_CHARACTERS = /\.\.|[?#%\\]/;
