"""blendnet sbom FILE: the software bill of materials of requirements.lock, as CycloneDX JSON.

Made from the lock alone, so that the same lock gives the same bytes on every machine: the serial number is made from
the lock's hash, and a time is written only if it is asked for. No address of any package index is in it.
Standard: CycloneDX 1.6 (ECMA-424).
"""

import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from blendnet import __version__
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file, write_text
from pipelines.audit import LOCK
from pipelines.context import say

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]*?))?\s*\\?$"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass
class Pin:
    """One locked package. marker: where it is needed, '' everywhere (a name may be locked twice, for different places);
    hashes: sha256 of each of its files; via: names of what needs it, '' being the project itself."""

    name: str
    version: str
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    via: list[str] = field(default_factory=list)


def pins(lock: Path) -> list[Pin]:
    """The packages of a lock with hashes and 'via' comments; raises BlendnetError, with its number, for a line that is
    none of these."""
    if not lock.exists():
        raise BlendnetError(f"{lock} is missing; make it with `make lock`")
    found: list[Pin] = []
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        pin = _PIN.match(line)
        if pin:
            found.append(Pin(pin["name"], pin["version"], (pin["marker"] or "").strip()))
        elif found and (digest := _HASH.match(text)):
            found[-1].hashes.append(digest[1])
        elif found and text.startswith("#"):
            name = text.lstrip("# ").removeprefix("via").strip()
            if name:
                found[-1].via.append("" if name.startswith("-r ") else name.partition("[")[0])
        elif text and not text.startswith("#"):
            raise BlendnetError(f"{lock}:{number}: {text[:60]!r} is no pinned package; make the lock with `make lock`")
    if not found:
        raise BlendnetError(f"{lock} holds no package; make it with `make lock`")
    return found


def text_of(lock: Path = LOCK, *, time: bool = False) -> str:
    """The bill of materials as CycloneDX 1.6 JSON; time: with the present time in it."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.dependency import Dependency
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    def component(pin: Pin) -> Component:
        return Component(
            name=pin.name, version=pin.version, type=ComponentType.LIBRARY, bom_ref=f"{pin.name}=={pin.version}",
            purl=PackageURL("pypi", None, pin.name, pin.version),
            # A package has one hash a file, the format one file a component: so they are properties.
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=h) for h in pin.hashes] if len(pin.hashes) == 1 else (),
            properties=[Property(name="blendnet:marker", value=pin.marker)] * bool(pin.marker)
            + [Property(name="blendnet:file-sha256", value=h) for h in pin.hashes if len(pin.hashes) > 1],
        )  # fmt: skip

    locked = pins(lock)
    root = Component(name="blendnet", version=__version__, type=ComponentType.APPLICATION, bom_ref="blendnet")
    made = [component(pin) for pin in locked]
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"blendnet/{__version__}/{sha256_file(lock)}"), components=made
    )
    bom.metadata.component = root
    needs: dict[str, list[Component]] = {"": [], **{pin.name: [] for pin in locked}}
    for pin, part in zip(locked, made):
        for user in pin.via:
            if user not in needs:
                raise BlendnetError(f"{lock}: {pin.name} is there for {user}, which is not; make it with `make lock`")
            needs[user].append(part)
    for part in (root, *made):
        of = needs["" if part is root else part.name]
        bom.dependencies.add(Dependency(part.bom_ref, [Dependency(other.bom_ref) for other in of]))
    bom.metadata.timestamp = datetime.now(UTC)
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    if not time:  # the library insists on one, the standard does not
        del content["metadata"]["timestamp"]
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def sbom(path: Path, lock: Path = LOCK, *, time: bool = False) -> None:
    """Write the bill of materials to a file. Raises BlendnetError where cyclonedx-bom is not installed."""
    try:
        import cyclonedx  # noqa: F401
    except ImportError as error:
        raise BlendnetError("cyclonedx-bom is not installed; install it with `pip install cyclonedx-bom`") from error
    write_text(path, text_of(lock, time=time))
    say(f"  {path}: {len(pins(lock))} packages of {lock.name}")
