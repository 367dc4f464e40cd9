"""What the installed backend's own code makes of header lines.

The functions that read credentials are cut out of the release's sources and run with its real Starlette, FastAPI and
PyJWT; only the database is replaced. Importing the whole application would take ten seconds and a data directory.

stdin:  {"secret", "users": [id], "keys": {key: id}, "apiKeyHeader", "requests": [[name, value, ...]]}
stdout: [{"user", "texts": [what any of the code paths took as a token], "configUser"}]
"""

import ast
import asyncio
import importlib.util
import inspect
import json
import logging
import os
import sys
from types import SimpleNamespace

import jwt
from fastapi import HTTPException, Request, Response, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ROOT = os.path.dirname(importlib.util.find_spec('open_webui').origin)
given = json.load(sys.stdin)
asked = []


def cut(path, *names):
    """The named functions of a source file, without decorators, defaults and annotations."""
    found = {}
    for node in ast.walk(ast.parse(open(os.path.join(ROOT, path)).read())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in names:
            node.decorator_list, node.returns, node.args.defaults = [], None, []
            for argument in node.args.args:
                argument.annotation = None
            found[node.name] = node
    assert set(found) == set(names), (path, names, set(found))
    return [found[name] for name in names]


def run(nodes, scope):
    exec(compile(ast.fix_missing_locations(ast.Module(nodes, [])), 'open_webui', 'exec'), scope)


async def settled(value):
    return await value if inspect.isawaitable(value) else value


newer = os.path.exists(os.path.join(ROOT, 'utils', 'asgi_middleware.py'))


def maybe_async(answer):
    async def later(*_args, **_options):
        return answer(*_args)

    return later if newer else lambda *args, **_options: answer(*args)


def user(id):
    return SimpleNamespace(id=id, email=id, role='user') if id in given['users'] else None


def by_key(key):
    asked.append(key)
    return user(given['keys'].get(key))


scope = {
    'jwt': jwt,
    'logging': logging,
    'log': logging.getLogger('open_webui'),
    'time': __import__('time'),
    'asyncio': SimpleNamespace(create_task=lambda task: task.close()),
    'SESSION_SECRET': given['secret'],
    'ALGORITHM': 'HS256',
    'HTTPException': HTTPException,
    'HTTPAuthorizationCredentials': HTTPAuthorizationCredentials,
    'status': status,
    'ERROR_MESSAGES': SimpleNamespace(INVALID_TOKEN='', UNAUTHORIZED='', API_KEY_NOT_ALLOWED='', ACCESS_PROHIBITED=''),
    'ENABLE_OTEL': False,
    'WEBUI_AUTH_TRUSTED_EMAIL_HEADER': None,
    'CUSTOM_API_KEY_HEADER': given['apiKeyHeader'],
    'trace': SimpleNamespace(get_current_span=lambda: None),
    'Users': SimpleNamespace(
        get_user_by_id=maybe_async(user),
        get_user_by_api_key=maybe_async(by_key),
        update_user_last_active_by_id=maybe_async(lambda *_: None),
        update_last_active_by_id=maybe_async(lambda *_: None),
    ),
    'Config': SimpleNamespace(get_many=maybe_async(lambda *_: {'auth.enable_api_keys': True})),
    'has_permission': maybe_async(lambda *_: True),
    'is_valid_token': maybe_async(lambda *_: True),
}
run(cut('utils/auth.py', 'decode_token', 'get_http_authorization_cred', 'get_current_user', 'get_current_user_by_api_key'), scope)
real_decode = scope['decode_token']


def decode_token(token):
    asked.append(token)
    return real_decode(token)


scope['decode_token'] = decode_token

# `/api/config` up to the point where it knows the user.
(config,) = cut('main.py', 'get_app_config')
first_after = 'group_defaults' if newer else 'user_count'
ends = [n for n, one in enumerate(config.body) if isinstance(one, ast.Assign) and one.targets[0].id == first_after]
config.body = config.body[: ends[0]] + [ast.Return(ast.Name('user', ast.Load()))]
run([config], scope)

if newer:
    run(cut('utils/asgi_middleware.py', '_set_token'), scope)

    async def set_token(request):
        scope['_set_token'](None, request)
else:
    run(cut('main.py', 'check_url'), scope)

    async def set_token(request):
        async def call_next(_request):
            return Response()

        await scope['check_url'](request, call_next)


settings = SimpleNamespace(ENABLE_API_KEY=True, ENABLE_API_KEY_ENDPOINT_RESTRICTIONS=False)
scope['app'] = SimpleNamespace(state=SimpleNamespace(config=settings, redis=None))
bearer = HTTPBearer(auto_error=False)


async def answer(lines):
    pairs = [(n.lower().encode('latin-1'), v.encode('latin-1')) for n, v in zip(lines[::2], lines[1::2])]
    request = Request({'type': 'http', 'method': 'GET', 'path': '/', 'headers': pairs, 'query_string': b'', 'app': scope['app']})
    asked.clear()
    await set_token(request)
    try:
        credentials = await bearer(request)
        found = await settled(scope['get_current_user'](request, Response(), None, credentials))
    except HTTPException:
        found = None
    try:
        configured = await settled(scope['get_app_config'](request))
    except HTTPException:
        configured = None
    stashed = getattr(request.state, 'token', None)
    return {
        'user': found.id if found else None,
        'configUser': configured.id if configured else None,
        'texts': sorted({*asked, *([stashed.credentials] if stashed else [])}),
    }


async def main():
    json.dump([await answer(lines) for lines in given['requests']], sys.stdout)


asyncio.run(main())
