"""The processes of one training wait for each other before any goes on. It enters no number."""

from datetime import timedelta

import torch.distributed as dist


def meet(store: dist.Store, number: int, size: int, timeout_s: float) -> None:
    """Return when all of `size` processes have called it; raises torch's DistError after timeout_s, or where the
    process that holds the store is gone.

    One that failed before all others were connected to it would be taken for one that never came.
    """
    store.set(f"met {number}", "")
    store.wait([f"met {i}" for i in range(size)], timedelta(seconds=timeout_s))
