/** What each setting means: a line of `modelgate serve --settings` and of `config/README.md`, which is made of this list. */
export const MEANINGS = {
  MODELGATE_UPSTREAM_URL: 'Where Open WebUI listens. **Required.**',
  MODELGATE_HOST: 'Address that the gate listens on.',
  MODELGATE_PORT: 'Port that the gate listens on.',
  MODELGATE_ADMIN_HOST: 'Address of the admin listener (`/healthz`, `/readyz`, `/metrics`); it has no sign-in.',
  MODELGATE_ADMIN_PORT: 'Port of the admin listener.',
  DATABASE_URL: "The backend's own setting. Not set: `webui.db` in `DATA_DIR`. One of the two is **required**.",
  DATA_DIR: "The backend's own setting; read where `DATABASE_URL` is not set.",
  WEBUI_SECRET_KEY:
    "The backend's own key; session tokens are verified with it. This or `WEBUI_SECRET_KEY_FILE` is **required**.",
  WEBUI_SECRET_KEY_FILE:
    "File that holds the backend's key, such as the `.webui_secret_key` which the backend makes; a newline at its end may or may not belong to the key, both are tried.",
  WEBUI_JWT_SECRET_KEY: "The backend's deprecated name for `WEBUI_SECRET_KEY`.",
  CUSTOM_API_KEY_HEADER: "The backend's own setting: header that may carry an API key beside `Authorization`.",
  OPENROUTER_EXTERNAL_USER:
    'Id of the organization that existing users and models are linked to at start. Needs `ORGANIZATION_NAME`. Not set: nothing is linked.',
  ORGANIZATION_NAME: 'Name of that organization.',
  MODELGATE_AUTO_ENROLL:
    'Whether users without any membership, switched on or off, become members of that organization when first seen. Needs an organization.',
  MODELGATE_MODE: '`report` refuses and filters nothing, and logs and counts what would have been.',
  MODELGATE_DENIAL: '`forbid` answers 403 to a model that is not granted; `hide` answers 404, as if it did not exist.',
  MODELGATE_ADMIN_ACCESS: 'Whether backend admins follow the grants of their organizations or use every model.',
  MODELGATE_EARLY_HINTS:
    'Whether `103 Early Hints` of the backend are passed on. nginx before 1.29 takes a 103 for the final answer.',
  MODELGATE_DIRECT_CONNECTIONS: "Chats over a user's own provider connection, whose models the gate cannot check.",
  MODELGATE_MEDIA_MODELS:
    'Image and speech models that may be used; they have a name space of their own, which grants do not cover.',
  ENABLE_MODEL_FILTER: "mAI's own setting: `false` switches all filtering and refusing off.",
  BYPASS_MODEL_ACCESS_CONTROL: "The backend's own setting: `true` switches all filtering and refusing off.",
  MODELGATE_POLICY_MAX_STALE:
    'How long the last good state serves when the database cannot be read; then model endpoints answer 503.',
  MODELGATE_TRUSTED_PROXIES: 'Proxies in front whose `X-Forwarded-…` headers are believed. Not set: none.',
  MODELGATE_MAX_BODY:
    "Largest request body that is read to be judged (1 KB = 1024 bytes). At the same time a user's long ones may take as much memory, or 100MB, and all users' twice that; beyond it 503. Uploads that only pass through are not bounded by it.",
  MODELGATE_MAX_HEADER:
    'Largest head of a request (its line and headers: cookies, most of all), and of an answer of the backend. Open WebUI itself takes 64 KB; nginx in front needs as much (`large_client_header_buffers`, `proxy_buffer_size`).',
  MODELGATE_LIMIT_ADDRESS:
    'API requests without a valid session or key, by client address (IPv6 by /64); a sign-in counts as ten, from any client. `COUNT/WINDOW:BURST` as nginx means `burst … nodelay`: so many a window in the long run, and BURST more than are due at once (not given: the whole count). `off`: no limit.',
  MODELGATE_LIMIT_USER: 'All API requests of a user.',
  MODELGATE_LIMIT_CHAT: 'Requests that run a model, by user.',
  MODELGATE_LIMIT_ORGANIZATION: 'The same, by the organization whose grant permitted them.',
  MODELGATE_LIMIT_CONCURRENT_CHATS:
    'Requests of one user that run a model at the same time; a stream counts until it ends.',
  MODELGATE_CONNECT_TIMEOUT: 'Longest wait for a connection to the backend.',
  MODELGATE_RESPONSE_TIMEOUT:
    "Longest wait for the backend's response headers, which come late where a model answers without streaming.",
  MODELGATE_IDLE_TIMEOUT:
    'Longest silence inside an answer, and of a client that takes nothing of it. The whole of a stream has no limit. A request body ends after a minute of silence, or where it comes by less than 500 bytes a second.',
  MODELGATE_DRAIN_TIMEOUT:
    'How long running requests may finish after SIGTERM; keep it below the grace period of the container.',
  MODELGATE_HEADERS_BACKEND:
    "Whether the backend's own line of a header below stays, where it sends one. For each header: a value, `off` (in no answer: nginx adds it, say), or `backend` (the backend's own alone).",
  MODELGATE_HEADERS_FRAME_OPTIONS: '`X-Frame-Options`. Other sites cannot show the page in a frame.',
  MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: '`X-Content-Type-Options`.',
  MODELGATE_HEADERS_XSS_PROTECTION:
    "`X-XSS-Protection`. The guide's value; browsers of today ignore it, and the advice of today is `0`.",
  MODELGATE_HEADERS_REFERRER_POLICY: '`Referrer-Policy`.',
  MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY:
    '`Strict-Transport-Security`. Only where a trusted proxy says `X-Forwarded-Proto: https`.',
  MODELGATE_HEADERS_PERMISSIONS_POLICY: '`Permissions-Policy`. Leaves to the page whatever Open WebUI uses.',
  MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY:
    '`Cross-Origin-Resource-Policy`. Always `cross-origin` on `/pyodide/`, which the page loads into a frame without an origin.',
  MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY:
    '`Cross-Origin-Opener-Policy`. Any value but `unsafe-none` cuts off pages that open this one: the import from openwebui.com, the sign-in to OneDrive.',
  MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY:
    '`Cross-Origin-Embedder-Policy`. Breaks pictures and frames of other sites.',
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: '`Content-Security-Policy`.',
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY:
    '`Content-Security-Policy-Report-Only`. Try a policy with it first.',
  CORS_ALLOW_ORIGIN:
    "The backend's own setting: origins whose pages may read its answers, and so the gate's own. `Retry-After`, `RateLimit…` and `X-Request-Id` are exposed to them.",
  WEBUI_SESSION_COOKIE_SECURE:
    "The backend's own setting: `true` adds `Secure` to its session cookies, which browsers then send and keep over https only. `false` takes none away.",
  WEBUI_SESSION_COOKIE_SAME_SITE:
    "The backend's own setting: `SameSite` of its session cookies. `strict` breaks OAuth sign-in. Not set: as the backend writes it.",
  WEBUI_AUTH_COOKIE_SECURE:
    "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SECURE` decides.",
  WEBUI_AUTH_COOKIE_SAME_SITE:
    "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SAME_SITE` decides.",
  LOG_LEVEL: 'Least severe log line that is written.',
  LOG_FORMAT:
    "`text`: lines for eyes; `json`: the backend's own word, for programs. Not set: text where standard output is a terminal.",
  SRC_LOG_LEVELS_MODELS:
    "The backend's own setting: `DEBUG` adds a line to each decision that explains organization, model and access. Not set: as `LOG_LEVEL`.",
};
