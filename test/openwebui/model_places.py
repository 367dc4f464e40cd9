"""Prints as JSON from where the installed Open WebUI takes a model: {"FILE": {"PLACE": ["KEY", ...]}}.

Run by test/openwebui/model-places.ts with the virtual environment's Python. The source is parsed, never imported, so
that it shows what runs by itself too, and what no route leads to. One argument: a folder to read instead.

A place is a function with all that is nested in it, a class for the fields that it declares, or `*`, the rest of a
file. It reads KEY where KEY stands between brackets, behind a dot, in a call, in a list of keys, or before `in`; a
route also where a parameter is called so. A body that is sent on unread has no key: the routes' review is for those.
"""

import ast
import importlib.util
import json
import sys
from pathlib import Path

# What names a model wherever it stands, and what holds something that is run.
NAMES = frozenset(
    """
    model model_id modelId model_ids modelIds models MODELS model_name model_item model_ref base_model base_model_id
    default_model default_models fallback_model selectedModelId selected_model selected_model_id task_model task_model_id
    timer_model_id message_ids params custom_params model_controls chat_context
    """.split()
)
# The same, of words that mean something else behind a dot (`subprocess.run`).
KEYS = frozenset("arena parent_message run user_message".split())
# Configuration: `TASK_MODEL`, `task.model.default`, `evaluation.arena.models`.
CONSTANTS = ("_MODEL", "_MODELS", "_MODEL_EXTERNAL")
SETTINGS = (*CONSTANTS, "_model", "_models", ".model", ".models", ".model_id", ".model_ids", ".model.default")
ROUTES = frozenset("get post put patch delete head options api_route websocket".split())
# Neither runs in a deployed backend.
SKIPPED = frozenset("migrations test tests".split())


def is_key(text: str) -> bool:
    return " " not in text and (text in NAMES or text in KEYS or text.endswith(SETTINGS) or ".model." in text)


def texts_of(node: ast.AST):
    """The expressions that may be keys which this one reads."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Store):
        # A word in the log's own table of levels
        return [] if ast.unparse(node.value) == "SRC_LOG_LEVELS" else [node.slice]
    if isinstance(node, ast.Call):
        return node.args
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        return [node.left]
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return node.elts
    return []


def is_route(decorator: ast.AST) -> bool:
    return (
        isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.func.attr in ROUTES
    )


def reads(node: ast.AST, called: frozenset[int]):
    """The keys that one expression reads; `called` are the expressions that are functions (`statement.params()`)."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store) and id(node) not in called:
        of_itself = isinstance(node.value, ast.Name) and node.value.id == "self"
        if (node.attr in NAMES or node.attr.endswith(CONSTANTS)) and not of_itself:
            yield node.attr
    for text in texts_of(node):
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and is_key(text.value):
            yield text.value
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(map(is_route, node.decorator_list)):
        yield from (argument.arg for argument in ast.walk(node.args) if getattr(argument, "arg", None) in NAMES)


def places_in(body, prefix: str = ""):
    """Pairs of a place and a key, some of them more than once."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            fields = [line.target for line in node.body if isinstance(line, ast.AnnAssign)]
            names = [field.id for field in fields if isinstance(field, ast.Name)]
            yield from ((prefix + node.name, name) for name in names if name in NAMES or name in KEYS)
            yield from places_in(node.body, f"{prefix}{node.name}.")
        else:
            place = prefix + getattr(node, "name", "*")
            called = frozenset(id(call.func) for call in ast.walk(node) if isinstance(call, ast.Call))
            yield from ((place, key) for inner in ast.walk(node) for key in reads(inner, called))


def places_under(root: Path):
    found = {}
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if SKIPPED.isdisjoint(name.parts):
            for place, key in places_in(ast.parse(file.read_bytes()).body):
                found.setdefault(name.as_posix(), {}).setdefault(place, set()).add(key)
    return {file: {place: sorted(keys) for place, keys in places.items()} for file, places in found.items()}


def installed() -> str:
    return importlib.util.find_spec("open_webui").submodule_search_locations[0]


if __name__ == "__main__":
    json.dump(places_under(Path(sys.argv[1] if len(sys.argv) > 1 else installed())), sys.stdout)
