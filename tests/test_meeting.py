"""No process of a training goes on before all have come."""

import pytest
import torch.distributed as dist

from blendnet._meeting import meet


def test_one_waits_for_the_other():
    store = dist.HashStore()
    with pytest.raises(dist.DistError):
        meet(store, 1, 2, 0.2)
    meet(store, 0, 2, 5.0)  # the other was there before
    meet(store, 1, 2, 5.0)
