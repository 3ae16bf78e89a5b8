"""tables and figures -> report.html, one self-contained page. Nothing but tables and figures is read."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import figures
from analysis import report as page
from blendnet import integrity
from blendnet.files import read_object, write_text
from pipelines import plan
from pipelines.draw import drawn, read_tables
from pipelines.sheet import Profile


def settings(profile: Profile, results: Path | None = None) -> dict[str, Any]:
    """The profile as nested plain values, with the plan of a time budget where results holds one."""
    found = asdict(profile)
    made = plan.read(results) if results else None
    if made is not None and made["epochs"] == profile.recipe.epochs:
        found["plan"] = made
    found["held_out"] = sorted(" + ".join(sorted(pair)) for pair in profile.held_out) or "none"
    found["runs"] = [r.id for r in profile.scored_runs()]
    return found


def report(profile: Profile, results: Path) -> None:
    """Write results/<profile>/report.html, with a hash of itself for `blendnet doctor`; figures that were not drawn
    from these very tables are drawn anew."""
    tables = dict(read_tables(profile, results))
    control = results / "tables" / "source_control.csv"
    if control.exists():
        tables["source_control"] = pd.read_csv(control, keep_default_na=False)
    pictures = {
        name: drawn(results, name) or figures.draw(name, tables, profile.name, kinds=("png",))["png"]
        for name in figures.drawable(tables)
    }
    provenance_file = results / "tables" / "provenance.json"
    provenance = read_object(provenance_file, {}) if provenance_file.exists() else {}
    text = page.build(tables, pictures, settings(profile, results), provenance, f"blendnet: {profile.name}")
    write_text(results / "report.html", integrity.sealed_page(text))
    print(f"  {results / 'report.html'}", flush=True)
    for line in planted_lines(tables["scores"], settings(profile)):
        print(line, flush=True)


def planted_lines(scores: pd.DataFrame, chosen: dict[str, Any]) -> list[str]:
    """Which planted layer was recovered for each area, one line each; nothing without a planted recording."""
    found = page.recovered(scores, chosen)
    return [
        f"  planted {r['region']}: made from {r['planted layer']}, committed {r['recovered layer']} by {r['metric']} "
        f"({'recovered' if r['recovered'] == 'yes' else 'NOT recovered'})"
        for r in found.to_dict("records")
    ]
