"""twins.csv -> power.csv: how many networks and seeds an effect of attention needs. Tables in, tables out: no torch."""

from pathlib import Path

from analysis import tables
from analysis.stats import power as simulated
from pipelines.sheet import Profile


def power(
    profile: Profile,
    results: Path,
    *,
    quantity: str | None = None,
    effect: float | None = None,
    n_simulations: int = 2000,
    seed: int = 0,
) -> None:
    """Simulate designs with the spread of networks and seeds found in twins.csv, write power.csv, print what is needed.

    results: the profile's folder; quantity, effect: as in analysis.stats.power.compute; n_simulations: of each design.
    Raises BlendnetError where twins.csv is missing, or shows no spread of networks and seeds to go by.
    """
    folder = results / "tables"
    twins = tables.read(folder / "twins.csv", "twins", profile.name)
    table = simulated.compute(twins, quantity=quantity, effect=effect, n_simulations=n_simulations, seed=seed)
    tables.write(table, folder / "power.csv")
    for line in simulated.sentences(table):
        print(f"  {line}", flush=True)
    print(f"  power.csv: {len(table)} designs, {n_simulations} simulations each", flush=True)
