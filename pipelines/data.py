"""blendnet data check | show | fetch."""

from pathlib import Path

from blendnet.data import fetch as fetching
from blendnet.data import photoset
from blendnet.data.contact_sheet import contact_sheet
from blendnet.errors import BlendnetError
from pipelines import networks, photographs, recordings
from pipelines.context import Context, say


def data(context: Context, action: str, names: list[str]) -> None:
    """Dispatch one of the three actions."""
    {"check": check, "show": show}.get(action, lambda c: fetch(c, names))(context)


def check(context: Context) -> None:
    """What photographs and recordings are there: counts by class and split, hashes, broken files."""
    p = context.profile
    report = photoset.check(
        photographs.index(p, context.data), classes=p.classes, split_seed=p.split_seed, fractions=p.fractions,
        fixed_splits=photographs.fixed_splits(p, context.data), progress=context.progress,
    )  # fmt: skip
    say(str(report))
    if report.broken:
        raise BlendnetError(f"{len(report.broken)} broken image files, listed above; delete or replace them")
    for name in recordings.names(context):
        if name == "planted":
            say("planted: invented responses, made when they are scored")
            continue
        for r in recordings.load_one(name, context.data):
            what = f"{len(r.subjects)} RDMs" if r.rdm_only else f"{len(r.neuroid_ids)} neuroids"
            say(f"{r.name}: {r.region}, {what}, {len(r.stimuli)} stimuli, sha256 {r.sha256[:12]}, doi {r.doi}")


def show(context: Context) -> None:
    """A contact sheet of test blends."""
    photos = photographs.load(context)
    manifest = photographs.manifest(context, photos, "test")
    path = context.folder("figures", "blends.png")
    contact_sheet(photos, manifest[manifest["alpha"] == 0.5], path)
    say(f"wrote {path}")


def fetch(context: Context, names: list[str]) -> None:
    """Get datasets from their public homes, checked by their checksums."""
    wanted = list(names) or needed(context)
    for name in wanted:
        say(f"{name}: {fetching.fetch(name, context.data, progress=context.progress)}")


def bring(context: Context) -> None:
    """Fetch what the profile needs where it says `fetch=True`; what is there already is left as it is."""
    if context.profile.fetch:
        for name in needed(context):
            fetching.fetch(name, context.data, progress=True)
    for run in context.profile.control_runs():
        if run.training == "imagenet" and networks.imagenet_file(context.data, run) is None:
            say(f"  fetching the weights of the positive control {run.id} into ./data")
            fetching.fetch(run.network, Path("data"), progress=True)


def needed(context: Context) -> list[str]:
    """What the profile needs that a machine can fetch."""
    found = [n for n in (*context.profile.sources, *context.profile.recordings) if n in fetching.names()]
    found += [r.network for r in context.profile.control_runs() if r.training == "imagenet"]
    return list(dict.fromkeys(found))
