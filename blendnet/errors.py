"""The one exception for everything that a user can put right."""

import difflib
from collections.abc import Iterable


class BlendnetError(Exception):
    """A mistake in the input or the surroundings. Its message is one line: the value, what is wrong, what to do.

    The command-line program prints it without a traceback and ends with exit status 1.
    """


def unknown(what: str, value: str, known: Iterable[str]) -> BlendnetError:
    """The error for a name that is not in a list, with the nearest name that is."""
    names = sorted(known)
    near = difflib.get_close_matches(value, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return BlendnetError(f"unknown {what} {value!r}{hint} (there are: {', '.join(names) or 'none'})")
