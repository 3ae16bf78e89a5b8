"""What arrays and tables mean: similarity, statistics, figures, report."""

import blendnet as blendnet  # before numpy is loaded: blendnet._openblas
