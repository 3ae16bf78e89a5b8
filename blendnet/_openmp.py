"""How many threads OMP_NUM_THREADS asks for, where it is not one plain number."""

import os


def unusual_threads() -> int | None:
    """OpenMP takes a list, '2,1' for nested levels, of which the first counts here; what is no number of 1 or more is
    as good as nothing, as OpenMP itself has it: as many as there are cores for this process. None where the variable
    is one plain number, or is not set."""
    said = os.environ.get("OMP_NUM_THREADS") or "1"
    first = said.split(",")[0].strip()
    plain = first.isascii() and first.isdecimal() and 0 < int(first[:9]) < 2**15
    if plain and first == said:
        return None
    return int(first) if plain else len(os.sched_getaffinity(0))
