"""Prints every route of the installed Open WebUI as JSON, one array on standard output.

Run by test/openwebui/routes.ts with the virtual environment's Python and the environment of a
throw-away backend. The application is imported, never served: what FastAPI registered is the fact,
not what a source search finds.
"""

import contextlib
import json
import sys

from starlette.routing import Mount, WebSocketRoute

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def join(prefix: str, path: str) -> str:
    return prefix.rstrip("/") + path if path else prefix


def reads_request(dependant) -> bool:
    """Whether the endpoint is handed the raw Request, whose body it may read itself (a plain Starlette route always is)."""
    if dependant is None:
        return True
    return dependant.request_param_name is not None


def describe(route, prefix: str):
    path = join(prefix, getattr(route, "path", ""))
    endpoint = getattr(route, "endpoint", None)
    common = {
        "path": path,
        "name": getattr(route, "name", "") or "",
        "module": getattr(endpoint, "__module__", "") or type(getattr(route, "app", None)).__module__,
    }
    if isinstance(route, Mount):
        inner = getattr(route.app, "routes", None)
        if inner:
            for child in inner:
                yield from describe(child, path)
        else:
            # An application without a route table (Socket.IO, static files) answers everything below its path.
            yield {"method": "*", **common, "path": join(path, "/*"), "hasBody": False, "websocket": False}
        return
    if isinstance(route, WebSocketRoute) or not hasattr(route, "methods"):
        yield {"method": "GET", **common, "hasBody": False, "websocket": True}
        return
    declared = getattr(route, "body_field", None) is not None
    raw = reads_request(getattr(route, "dependant", None))
    # Starlette routes accept every method where none is named.
    for method in sorted(route.methods or {"*"}):
        has_body = declared or (raw and (method in METHODS_WITH_BODY or method == "*"))
        yield {"method": method, **common, "hasBody": has_body, "websocket": False}


def main() -> None:
    # The import prints a banner and log lines; standard output belongs to the JSON.
    with contextlib.redirect_stdout(sys.stderr):
        from open_webui.main import app

        routes = [entry for route in app.routes for entry in describe(route, "")]
    json.dump(routes, sys.stdout)


if __name__ == "__main__":
    main()
