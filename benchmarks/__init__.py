"""Speed and reliability, measured; see benchmarks/results."""

import blendnet as blendnet  # before numpy is loaded: blendnet._openblas
