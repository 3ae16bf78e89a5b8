"""scores and accuracy -> correlation.csv and twins.csv. Tables in, tables out: no torch."""

from pathlib import Path

from analysis import tables
from analysis.stats import correlation, twins
from pipelines.sheet import Profile


def correlate(profile: Profile, results: Path) -> None:
    """Relate brain similarity to accuracy across runs, and attention to its plain twin within runs."""
    folder = results / "tables"
    scores, accuracy = (tables.read(folder / f"{name}.csv", name, profile.name) for name in ("scores", "accuracy"))
    table = correlation.compute(scores, accuracy)
    tables.write(table, folder / "correlation.csv")
    pairs = twins.compute(scores, accuracy)
    tables.write(pairs, folder / "twins.csv")
    print(f"  {len(table)} coefficients, {len(pairs)} twin differences", flush=True)
