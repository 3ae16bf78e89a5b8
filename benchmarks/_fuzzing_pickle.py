"""Checkpoints of the original repository's kind, in which one thing is altered: an opcode, number, name or member."""

import io
import pickle
import pickletools
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

MARK = "pwned"  # a file of this name would be there if anything had run
FOREIGN = (
    "os system", "posix system", "builtins eval", "builtins exec", "builtins getattr", "builtins __import__",
    "subprocess Popen", "subprocess check_output", "torch load", "torch.hub load", "torch.storage _load_from_bytes",
    "torch._utils _rebuild_parameter", "torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_meta_tensor_no_storage", "torch._utils _rebuild_wrapper_subclass",
    "torch._utils _rebuild_tensor", "torch._tensor _rebuild_from_type_v2", "torch.serialization _get_layout",
    "torch Size", "torch Tensor", "torch dtype", "torch.nn.parameter Parameter", "torch DoubleStorage",
    "torch HalfStorage", "torch.storage UntypedStorage", "torch.nn.modules.linear Linear",
    "torch.nn.modules.loss BCELoss", "numpy.core.multiarray _reconstruct", "collections OrderedDict",
    "collections Counter", "pathlib PosixPath", "io open", "codecs encode", "functools partial", "operator attrgetter",
    "types FunctionType", "nowhere nothing", " ", "torch._utils _rebuild_tensor_v2\nR",
)  # fmt: skip
NUMBERS = (-1, 0, 1, 2, 7, 255, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**63), 2**63, 2**64, 10**30)
TEXTS = (
    "0", "1", "99", "", "../0", "/etc/passwd", "cuda:0", "meta", "mps", "cpu:7", "xla", "storage", "module",
    "state_dict", "__class__", "__setstate__", "a\nb", "é", "\0", "x" * 70000, "module.V1.conv.weight", "_parameters",
)  # fmt: skip
# Opcodes in the wrong place: calls, states, persistent ids, marks, memo places that are not there, absurd lengths.
OPS = (
    b"R", b"b", b"Q", b"P0\n", b"P../../x\n", b"(", b"0", b"1", b"2", b".", b"t", b"l", b"d", b"}", b"]", b")", b"s",
    b"u", b"a", b"e", b"\x81", b"\x85", b"\x86", b"\x87", b"\x88", b"N", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93",
    b"\x94", b"\x97", b"\x98", b"h\x00", b"h\x07", b"h\xfe", b"j\xff\xff\xff\x7f", b"r\xff\xff\xff\x7f", b"q\x07",
    b"\x82\x01", b"\x83\x01\x01", b"\x84\x01\0\0\0", b"\x95" + struct.pack("<Q", 2**63 - 1),
    b"\x8b" + struct.pack("<i", 2**31 - 1), b"\x8b" + struct.pack("<i", -1), b"X\xff\xff\xff\xff",
    b"T\xff\xff\xff\x7f", b"\x8d" + struct.pack("<Q", 2**40), b"\x8e" + struct.pack("<Q", 2**62), b"\x80\x09",
    b"\x80\x05", b"I99999999999999999999\n", b"F1e999\n", b"L-1L\n", b"S'x\n", b"V\\ud800\n", b"\xff",
)  # fmt: skip


def valid(folder: Path) -> None:
    """folder/zip.pth and folder/old.pth: small checkpoints in both formats of PyTorch."""
    import torch

    from tests.bad_inputs_legacy import small

    folder.mkdir(parents=True, exist_ok=True)
    content = small(loss=torch.nn.BCELoss())
    rng = torch.Generator().manual_seed(0)
    content["state_dict"] = {k: torch.randn(2, 3, generator=rng) for k in content["state_dict"]}
    torch.save(content, folder / "zip.pth")
    # The format before PyTorch 1.6 keeps the source of a pickled module beside it, which weights_only refuses.
    torch.save(content | {"loss": None}, folder / "old.pth", _use_new_zipfile_serialization=False)


def pieces(stream: bytes) -> tuple[list[bytes], bytes]:
    """The opcodes of one pickle, each with its argument, and what follows it."""
    begins = [at for _, _, at in pickletools.genops(stream)]
    end = stream.index(b".", begins[-1]) + 1
    return [stream[a:b] for a, b in zip(begins, [*begins[1:], end])], stream[end:]


def number(value: int) -> bytes:
    """An opcode that pushes a whole number, of any size."""
    return pickle.dumps(value, protocol=2)[2:-1]


def text(value: str) -> bytes:
    """An opcode that pushes text."""
    held = value.encode()
    return b"X" + struct.pack("<I", len(held)) + held


def attacks(mark: Path) -> tuple[bytes, ...]:
    """Opcodes that run a command when they are obeyed, in every way that a pickle has to call something."""
    command = f"touch {mark}"
    word = text(command)
    return (
        b"cos\nsystem\n" + word + b"\x85R", b"(" + word + b"ios\nsystem\n", b"(cos\nsystem\n" + word + b"o",
        text("os") + text("system") + b"\x93" + word + b"\x85R", b"cos\nsystem\n" + word + b"\x85\x81",
        b"cbuiltins\neval\n" + text(f"__import__('os').system({command!r})") + b"\x85R",
        b"cos\nsystem\n" + word + b"\x85}\x92", b"ctorch.nn.modules.loss\nBCELoss\n" + word + b"\x85R",
        b"ctorch\nTensor\ncos\nsystem\nb", b"ccollections\nOrderedDict\n)R}" + text("__reduce__") + b"cos\nsystem\nsb",
    )  # fmt: skip


def altered(ops: list[bytes], rng: random.Random, mark: Path) -> list[bytes]:
    """One thing altered in the opcodes of a pickle."""
    ops = list(ops)
    kind = rng.randrange(10)
    at = rng.randrange(1, len(ops))
    if kind == 0:
        _replaced(ops, rng, (b"c",), b"c" + rng.choice(FOREIGN).replace(" ", "\n", 1).encode() + b"\n")
    elif kind == 1:  # shapes, strides, offsets, sizes of storages, epochs
        _replaced(ops, rng, (b"K", b"M", b"J", b"\x8a"), number(rng.choice(NUMBERS)))
    elif kind == 2:
        _replaced(ops, rng, (b"X",), text(rng.choice(TEXTS)))
    elif kind == 3:
        ops.insert(at, rng.choice(attacks(mark)) + rng.choice((b"", b"0")))
    elif kind == 4:
        ops.insert(at, rng.choice(OPS))
    elif kind == 5:
        del ops[at]
    elif kind == 6:
        other = rng.randrange(1, len(ops))
        ops[at], ops[other] = ops[other], ops[at]
    elif kind == 7:
        ops.insert(at, ops[rng.randrange(1, len(ops))])
    elif kind == 8:  # containers within themselves, and nested deep
        n = rng.choice((10, 3000, 100_000))
        loops = (b"]q\xf0h\xf0a", b"}q\xf0" + text("a") + b"h\xf0s", b"]" * n + b"a" * (n - 1), b")" + b"\x85" * n,
                 b"(" * n, b"}q\xf0" + text("state_dict") + b"h\xf0sh\xf0u")  # fmt: skip
        ops.insert(at, rng.choice(loops) + rng.choice((b"", b"0")))
    else:
        a, b = sorted((at, rng.randrange(1, len(ops))))
        ops[a:b] = ops[a:b][::-1] if rng.random() < 0.5 else ops[a:b] * 2
    return ops


def _replaced(ops: list[bytes], rng: random.Random, kinds: tuple[bytes, ...], by: bytes) -> None:
    at = rng.choice([i for i, op in enumerate(ops) if op[:1] in kinds])
    ops[at] = by


def zipped(content: bytes, rng: random.Random, mark: Path) -> bytes:
    """A checkpoint of today's format with one thing altered, in its pickle (two of three) or in its archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    more: dict[str, Any] = {}
    if rng.random() < 0.67:
        at = next(i for i, (name, _) in enumerate(members) if name.endswith("data.pkl"))
        members[at][1] = b"".join(altered(pieces(members[at][1])[0], rng, mark))
    else:
        more = _archive(members, content, rng, mark)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", more.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, more.get("compression", zipfile.ZIP_STORED))
    return more.get("before", b"") + held.getvalue() + more.get("after", b"")


def _archive(members: list[list[Any]], content: bytes, rng: random.Random, mark: Path) -> dict[str, Any]:
    at = rng.randrange(len(members))
    name, data = members[at]
    folder = name.split("/")[0]
    kind = rng.randrange(12)
    if kind == 0:  # two members of one name, of which two readers may take each another
        first = rng.random() < 0.5
        other = rng.choice((attacks(mark)[0] + b".", data[: len(data) // 2], data + data, bytes(len(data))))
        members.insert(at if first else len(members), [name, other])
    elif kind == 1:
        del members[at]
    elif kind == 2:
        members[at][1] = content  # an archive within itself
    elif kind == 3:
        members[at][1] = data[: rng.randrange(len(data) + 1)]
    elif kind == 4:
        members[at][1] = data + bytes(rng.choice((1, 8, 4096)))
    elif kind == 5:
        members[at][0] = rng.choice(
            (name.upper(), f"other/{name}", name.replace(f"{folder}/", ""), f"{name}/x", "é" * 300)
        )
    elif kind == 6:
        words = (b"big", b"middle", b"", b"little\n", b"\xff", b"0", b"999999999999999999999", b"-1", b"3")
        small = [m for m in members if m[0].endswith(("byteorder", "version", "alignment", "id"))]
        rng.choice(small)[1] = rng.choice(words)
    elif kind == 7:
        members.append(
            [f"{folder}/{rng.choice(('constants.pkl', 'code/x.py', 'extra/y', 'data/0', 'data.pkl'))}", data]
        )
    elif kind == 8:
        return {"compression": rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))}
    elif kind == 9:
        return {"before": rng.choice((b"#!/bin/sh\n", content[:64], attacks(mark)[0] + b"."))}
    elif kind == 10:
        return {"after": rng.choice((b"\0", content, b"PK\x05\x06" + bytes(18), b"PK\x06\x07" + b"\xff" * 16))}
    else:
        other = rng.randrange(len(members))
        members[at][1], members[other][1] = members[other][1], members[at][1]
    return {}


def old(content: bytes, rng: random.Random, mark: Path) -> bytes:
    """A checkpoint of the format before PyTorch 1.6 (five pickles, then numbers) with one thing altered."""
    streams, rest = [], content
    for _ in range(5):
        ops, rest = pieces(rest)
        streams.append(ops)
    if rng.random() < 0.15:
        rest = rng.choice((rest[: rng.randrange(len(rest))], rest + rest, struct.pack("<q", 2**62) + rest[8:],
                           struct.pack("<q", -1) + rest[8:], b""))  # fmt: skip
    else:
        at = rng.choice((0, 1, 2, 3, 3, 3, 3, 3, 4))
        if len(streams[at]) > 2:
            streams[at] = _any(streams[at], rng, mark)
        else:
            streams[at][-1:] = [rng.choice(attacks(mark)), b"."]
    return b"".join(op for ops in streams for op in ops) + rest


def _any(ops: list[bytes], rng: random.Random, mark: Path) -> list[bytes]:
    """altered, also for the small pickles that have no name or number to replace."""
    try:
        return altered(ops, rng, mark)
    except IndexError:
        return [*ops[:-1], rng.choice(attacks(mark)), b"."]
