import { join } from 'node:path';

export interface EnvironmentOptions {
  dataDir: string;
  secretKey: string;
  /** Base URL of the OpenAI-compatible provider, with its `/v1`. */
  providerUrl: string;
  ollamaUrl?: string | undefined;
}

const ON = 'true';
const OFF = 'false';

/** What ordinary users may do; most of it is off by default, and each is a way to name a model. */
const PERMISSIONS = {
  USER_PERMISSIONS_WORKSPACE_MODELS_ACCESS: ON,
  USER_PERMISSIONS_WORKSPACE_MODELS_IMPORT: ON,
  USER_PERMISSIONS_WORKSPACE_MODELS_EXPORT: ON,
  USER_PERMISSIONS_WORKSPACE_MODELS_ALLOW_SHARING: ON,
  USER_PERMISSIONS_WORKSPACE_MODELS_ALLOW_PUBLIC_SHARING: ON,
  USER_PERMISSIONS_WORKSPACE_KNOWLEDGE_ACCESS: ON,
  USER_PERMISSIONS_WORKSPACE_PROMPTS_ACCESS: ON,
  USER_PERMISSIONS_WORKSPACE_TOOLS_ACCESS: ON,
  USER_PERMISSIONS_CHAT_SHARE: ON,
  USER_PERMISSIONS_CHAT_ALLOW_PUBLIC_SHARING: ON,
  USER_PERMISSIONS_FEATURES_API_KEYS: ON,
  USER_PERMISSIONS_FEATURES_CHANNELS: ON,
  USER_PERMISSIONS_FEATURES_AUTOMATIONS: ON,
  USER_PERMISSIONS_FEATURES_IMAGE_GENERATION: ON,
};

const FEATURES = {
  ENABLE_SIGNUP: ON,
  ENABLE_LOGIN_FORM: ON,
  DEFAULT_USER_ROLE: 'user',
  ENABLE_API_KEY: ON,
  ENABLE_API_KEYS: ON,
  ENABLE_CHANNELS: ON,
  ENABLE_AUTOMATIONS: ON,
  ENABLE_NOTES: ON,
  ENABLE_FOLDERS: ON,
  ENABLE_DIRECT_CONNECTIONS: ON,
  ENABLE_EVALUATION_ARENA_MODELS: ON,
  ENABLE_OPENAI_API: ON,
  // So that the gate is the only wall: whatever reaches the provider wrongly, nothing else would have stopped it.
  BYPASS_MODEL_ACCESS_CONTROL: ON,
  ENABLE_OPENAI_API_PASSTHROUGH: ON,
  ENABLE_ADMIN_ANALYTICS: ON,
  // A due automation waits for the next look of the scheduler; the default of 10 s is a test's whole patience.
  SCHEDULER_POLL_INTERVAL: '1',
};

/** Nothing is fetched from outside and no model file is looked for. */
const OFFLINE = {
  OFFLINE_MODE: ON,
  HF_HUB_OFFLINE: '1',
  RAG_EMBEDDING_ENGINE: 'openai',
  RAG_EMBEDDING_MODEL: 'embedding-of-the-backend',
  RAG_EMBEDDING_MODEL_AUTO_UPDATE: OFF,
  AUDIO_STT_ENGINE: 'openai',
  AUDIO_TTS_ENGINE: 'openai',
  IMAGE_GENERATION_ENGINE: 'openai',
  ENABLE_IMAGE_GENERATION: ON,
  ENABLE_VERSION_UPDATE_CHECK: OFF,
  ANONYMIZED_TELEMETRY: OFF,
  DO_NOT_TRACK: ON,
  SCARF_NO_ANALYTICS: ON,
};

/**
 * The whole environment of a test backend. Nothing of the developer's own is inherited but the path: a provider
 * key or a proxy setting of the machine must not reach a backend under test.
 */
export function backendEnvironment(options: EnvironmentOptions): Record<string, string> {
  const { dataDir, secretKey, providerUrl, ollamaUrl } = options;
  return {
    PATH: process.env['PATH'] ?? '/usr/bin:/bin',
    HOME: dataDir,
    LANG: 'C.UTF-8',
    PYTHONUNBUFFERED: '1',
    ENV: 'prod',
    // The pip launcher sets it: paths are then those of the installed package.
    FROM_INIT_PY: ON,
    DATA_DIR: dataDir,
    // The default is inside the package, where two backends would empty it under each other.
    STATIC_DIR: join(dataDir, 'static'),
    WEBUI_SECRET_KEY: secretKey,
    OPENAI_API_BASE_URL: providerUrl,
    OPENAI_API_BASE_URLS: providerUrl,
    OPENAI_API_KEY: 'provider-key',
    OPENAI_API_KEYS: 'provider-key',
    RAG_OPENAI_API_BASE_URL: providerUrl,
    AUDIO_STT_OPENAI_API_BASE_URL: providerUrl,
    AUDIO_TTS_OPENAI_API_BASE_URL: providerUrl,
    IMAGES_OPENAI_API_BASE_URL: providerUrl,
    ...OFFLINE,
    ...FEATURES,
    ...PERMISSIONS,
    ENABLE_OLLAMA_API: ollamaUrl === undefined ? OFF : ON,
    ...(ollamaUrl === undefined ? {} : { OLLAMA_BASE_URL: ollamaUrl, OLLAMA_BASE_URLS: ollamaUrl }),
  };
}
