"""What Python makes of bodies and paths, one JSON line of input a line of output: the reader that the gate must agree with.

Bodies are read as the backend reads them (json.loads on bytes; utils/payload.py for custom_params, main.py for message_ids);
paths as uvicorn and Starlette do (unquote once, then the first route whose pattern matches).
"""

import base64
import json
import re
import sys
from urllib.parse import unquote


def named_by(value, found):
    """Ids under a key that routers read: a string, a list, or objects that name one."""
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, list):
        for item in value:
            named_by(item, found)
    elif isinstance(value, dict):
        for key in ("model", "id"):
            if key in value:
                named_by(value[key], found)


def merged(params):
    if not isinstance(params, dict):
        return {}
    params = dict(params)
    custom = params.pop("custom_params", None)
    if isinstance(custom, dict):
        for key, value in custom.items():
            if isinstance(value, str):
                try:
                    value = json.loads(value)
                except json.JSONDecodeError:
                    pass
            params[key] = value
    return params


def models_of(body):
    if not isinstance(body, dict):
        return []
    found = []
    for place in (body, merged(body.get("params")), body.get("extra_body")):
        if isinstance(place, dict):
            for key in ("model", "models", "fallbacks"):
                named_by(place.get(key), found)
    ids = body.get("message_ids")
    if isinstance(ids, list):
        found += [one["model_id"] for one in ids if isinstance(one, dict) and isinstance(one.get("model_id"), str)]
    elif isinstance(ids, dict):
        found += list(ids)
    return found


def read_body(given):
    try:
        body = json.loads(base64.b64decode(given))
    except (ValueError, RecursionError) as error:
        return {"error": type(error).__name__}
    return {"models": sorted(set(models_of(body))), "value": body}


def compile_route(path):
    rest = path.endswith("**")
    source = "".join(
        "(?:[^/]+)" if part.startswith(":") else re.escape(part)
        for part in re.split(r"(:\w+)", path[:-2] if rest else path)
    )
    return re.compile("^" + source + (".*" if rest else "") + "$", re.S)


def route_of(target, method, routes):
    path = unquote(target.partition("?")[0])
    for index, (wanted, pattern) in enumerate(routes):
        if wanted in ("*", method) and pattern.match(path):
            return {"path": path, "route": index}
    return {"path": path, "route": -1}


def main():
    routes = []
    for line in sys.stdin:
        order = json.loads(line)
        if "routes" in order:
            routes = [(method, compile_route(path)) for method, path in order["routes"]]
            continue
        answer = read_body(order["body"]) if "body" in order else route_of(order["target"], order["method"], routes)
        try:
            print(json.dumps(answer, allow_nan=False))
        except ValueError:
            print(json.dumps({**answer, "value": "not a number"}))


main()
