"""How many threads OMP_NUM_THREADS asks for."""

import os


def threads() -> int:
    """OpenMP takes a list, '2,1' for nested levels, of which the first counts here; what is no number of 1 or more is
    as good as nothing, as OpenMP itself has it: as many as there are cores for this process."""
    first = (os.environ.get("OMP_NUM_THREADS") or "").split(",")[0].strip()
    if first.isascii() and first.isdecimal() and 0 < int(first[:9]) < 2**15:
        return int(first)
    return len(os.sched_getaffinity(0))
