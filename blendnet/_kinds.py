"""Kinds of JSON values: is what was read of the shape that it was written in?"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blendnet.errors import BlendnetError

# A kind: a number of 0 or more.
AMOUNT = "amount"
AGAIN = "delete it and run the step again"
# No file of ours is nested half as deep; one of thousands of brackets ends whatever goes down into it.
_DEEPEST = 60


def must_be(path: Path | str, value: Any, kind: Any, again: str = AGAIN) -> None:
    """Raise BlendnetError, one line, where what was read from a file is not of a kind."""
    if wrong := unlike(value, kind):
        raise BlendnetError(f"{path} is not as it was written ({wrong}); {again}")


def must_hold(path: Path | str, text: str, kind: Any, again: str = AGAIN) -> None:
    """The same of JSON that a file of another format holds."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BlendnetError(f"{path} holds no valid JSON ({error}); {again}") from error
    must_be(path, value, kind, again)


def unlike(value: Any, kind: Any, where: str = "") -> str:
    """'' where a JSON value is of a kind, else what is wrong: 'files.V1.png is 5, no text'.

    kind: str, bool, list or dict (anything in it); int: a whole number of 0 or more; float: a number; AMOUNT: one of 0
    or more; None: null; [kind]: a list of such; {str: kind}: an object of such by any names; {'name': kind, 'other?':
    kind}: an object with these names, those with ? if they are there, and any others; (kind, kind): either.
    """
    if isinstance(kind, tuple):
        found = [unlike(value, one, where) for one in kind]
        return "" if "" in found else found[0]
    if isinstance(kind, list):
        inside = enumerate(value) if isinstance(value, list) else ()
        found = [unlike(v, kind[0], f"{where}[{i}]") for i, v in inside]
        return next(filter(None, found), "" if isinstance(value, list) else _is_no(value, list, where))
    if isinstance(kind, Mapping):
        if not isinstance(value, dict):
            return _is_no(value, dict, where)
        wanted = {name: kind[str] for name in value} if str in kind else {n.rstrip("?"): k for n, k in kind.items()}
        for name, one in wanted.items():
            if name in value:
                if wrong := unlike(value[name], one, f"{where}.{name}" if where else name):
                    return wrong
            elif f"{name}?" not in kind:
                return f"{where or 'it'} has no {name!r}"
        return ""
    if kind in (int, float, AMOUNT):
        right = _is_number(value) and (kind is float or value >= 0) and (kind is not int or isinstance(value, int))
    else:
        right = value is None if kind is None else isinstance(value, kind)
    return "" if right else _is_no(value, kind, where)


_NAMES = {str: "text", bool: "true or false", list: "list", dict: "object", int: "whole number of 0 or more",
          float: "number", AMOUNT: "number of 0 or more", None: "null"}  # fmt: skip


def _is_no(value: Any, kind: Any, where: str) -> str:
    shown = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    return f"{where[:120] or 'it'} is {shown if len(shown) <= 40 else shown[:40] + '…'}, no {_NAMES[kind]}"


def _is_number(value: Any) -> bool:
    try:  # a number of more digits than a float can be is not one that anybody measured
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def not_deep(value: Any) -> None:
    """Raise ValueError for a value that is nested deeper than any file of ours."""
    level = [value]
    for _ in range(_DEEPEST):
        inside = (v for one in level for v in (one.values() if isinstance(one, dict) else one))
        level = [v for v in inside if isinstance(v, dict | list)] if isinstance(level[0], dict | list) else []
        if not level:
            return
    raise ValueError(f"nested more than {_DEEPEST} deep")
