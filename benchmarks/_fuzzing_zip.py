"""Archives of stimuli changed where their reader decides: headers, the directory, and whole members for others."""

import io
import random
import struct
import zipfile

from benchmarks._fuzzing_bytes import INTERESTING, mutated

# PKWARE's APPNOTE: the fields (offset, bytes) of a local header, an entry of the directory, and the directory's end.
FIELDS = {
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": ((4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2),
                    (38, 4), (42, 4)),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}  # fmt: skip
NAMES = (
    "image0001.jpg", "IMAGE01.JPEG", "../image0007.jpg", "/image0007.jpg", "a/b/image0007.jpg",
    "image99999999999999.jpg", "image٣.jpg", "image0001.jpg/", "image0001.jpg\0.png", "é" * 200, "x" * 5000,
    ".image0001.jpg", "", "C:\\image0001.jpg", "tex000.png", "__MACOSX/image0001.jpg", "a" * 300 + "/image0001.jpg",
)  # fmt: skip


def changed(content: bytes, rng: random.Random) -> bytes:
    """One archive with a few header fields, some bytes, or one member changed."""
    kind = rng.random()
    if kind < 0.25:
        return mutated(content, rng)
    if kind < 0.65:
        return _fields(content, rng)
    return _members(content, rng)


def _fields(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        mark = rng.choice(tuple(FIELDS))
        places = [at for at in range(len(content)) if content.startswith(mark, at)]
        at = rng.choice(places)
        offset, n = rng.choice(FIELDS[mark])
        value = rng.choice((0, 1, 2, 8, 12, 14, 93, 99, 2**11, 2**15, 2**16 - 1, 2**31, 2**32 - 1, at, len(content)))
        found[at + offset : at + offset + n] = (value % 2 ** (8 * n)).to_bytes(n, "little")
        if rng.random() < 0.3:  # of both flags of a name in UTF-8, and bytes that are none
            where = content.find(b"image", at)
            if where >= 0:
                found[where] = rng.choice((*INTERESTING, 0xC3))
    return bytes(found)


def _members(content: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = rng.randrange(len(members))
    name, data = members[at]
    kind = rng.randrange(7)
    if kind == 0:
        members[at] = (rng.choice(NAMES), data)
    elif kind == 1:
        members.insert(rng.randrange(len(members) + 1), (rng.choice((name, *NAMES)), rng.choice((data, b"", content))))
    elif kind == 2:
        members[at] = (name, mutated(data, rng))
    elif kind == 3:
        members[at] = (name, rng.choice((b"", content, data[: len(data) // 2], data + data, b"GIF89a" + bytes(20))))
    elif kind == 4:
        del members[at]
    elif kind == 5:
        rng.shuffle(members)
    else:
        members = members * rng.choice((2, 30))
    held = io.BytesIO()
    packing = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(held, "w", packing) as archive:
        for member, bytes_ in members:
            info = zipfile.ZipInfo(member or "x")
            info.filename = member
            info.external_attr = rng.choice((0, 0, 0o120777 << 16, 0o40755 << 16, 0x10))
            info.extra = rng.choice((b"", b"", struct.pack("<HH", 1, 16) + bytes(16), b"\x01\x00\xff\xff", b"\1"))
            archive.writestr(info, bytes_, packing)
        archive.comment = rng.choice((b"", b"", b"PK\x05\x06" + bytes(18)))
    return held.getvalue()
