"""Seeded very sparse random projection (Li, Hastie, Church 2006, doi 10.1145/1150402.1150436).

A convolutional layer has up to a million units, a regression needs about a thousand. The projection keeps
inner products in expectation, costs sqrt(d) reads an output, and depends on nothing but (seed, d, width): the same
layer of two networks is seen through the same projection, on any device.
"""

import math
import warnings

import numpy as np
import torch


def sparse_projection(d: int, width: int, seed: int) -> torch.Tensor | None:
    """Sparse CSR matrix of shape (width, d) with k = ceil(sqrt(d)) entries of either sign a row; None where d <= width.

    A row reads one position, drawn uniformly, in each of k blocks of nearly d / k neighbours, so that positions never
    repeat. With entries +-sqrt(block / width), E[|Px|^2] = |x|^2 exactly.
    """
    if d <= width:
        return None
    k = math.ceil(math.sqrt(d))
    rng = np.random.default_rng([seed, d, width])
    edges = np.arange(k + 1) * d // k
    block = np.diff(edges)
    columns = edges[:-1] + rng.integers(0, block, size=(width, k))
    values = (rng.integers(0, 2, size=(width, k)) * 2 - 1) * np.sqrt(block / width)
    with warnings.catch_warnings():
        # torch calls its CSR layout beta; all that is used of it is one product, which the tests check.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.arange(0, width * k + 1, k),
            torch.from_numpy(columns.reshape(-1)),
            torch.from_numpy(values.reshape(-1).astype(np.float32)),
            size=(width, d),
            check_invariants=True,
        )


def project(x: torch.Tensor, matrix: torch.Tensor | None) -> torch.Tensor:
    """Flatten x of shape (batch, ...) to (batch, d) and project it; returns float32 of shape (batch, width or d)."""
    flat = x.flatten(1).float()
    if matrix is None:
        return flat
    return (matrix @ flat.T).T
