"""Stimuli are placed a batch at a time: the pixels of the whole set at once, memory that does not grow with the set,
and each stimulus placed once for several networks."""

import os
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from blendnet.data.brain.placement import place
from blendnet.data.brain.recording import Stimuli
from pipelines import extract, placing, recordings, sheet
from pipelines.context import Context

DESIGN = replace(sheet.DEMO, image_size=24, model_degrees=8.0)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """No set of another test, and none left for another."""
    monkeypatch.setattr(placing, "_KEPT", {})


@pytest.fixture
def context(tmp_path):
    return Context(DESIGN, tmp_path / "demo", tmp_path / "data", progress=False)


def made(n: int, degrees: float | None = 5.0, name: str = "a") -> tuple[Stimuli, list[int]]:
    """n coloured images of different shapes; and the list that each reading is entered into."""
    read: list[int] = []

    def one(i: int) -> np.ndarray:
        read.append(i)
        return np.random.default_rng([i, len(name)]).integers(0, 256, (30 + i % 7, 40 - i % 5, 3), dtype=np.uint8)

    ids = tuple(f"{name}{i}" for i in range(n))
    return Stimuli(name, ids, one, np.arange(n), degrees, name * 64), read


def at_once(stimuli: Stimuli, size: int, colour: str) -> np.ndarray:
    """As it was done before: all stimuli in one array, made grey together."""
    images = np.empty((len(stimuli), size, size, 3), np.uint8)
    for i in range(len(stimuli)):
        images[i] = np.rint(place(stimuli.read(i), image_size=size, degrees=stimuli.degrees, model_degrees=8.0))
    if colour == "grey":
        images[:] = np.rint(images @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8)
    return images


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("degrees", [None, 5.0, 12.0])
def test_batches_are_the_whole_set_to_the_bit(context, colour, degrees):
    stimuli, _ = made(41, degrees)
    wanted = at_once(stimuli, 24, colour)
    for _ in range(2):  # placed, then read back
        for start, stop in ((0, 4), (0, 16), (16, 32), (32, 48), (5, 20), (0, 41)):
            found = placing.placed(context, stimuli, 24, colour, start, stop)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, wanted[start:stop])
    np.testing.assert_array_equal(placing.placed(context, stimuli, 24, colour), wanted)
    assert placing.placed(context, stimuli, 24, colour, 41, 41).shape == (0, 24, 24, 3)


def test_sets_that_differ_in_anything_are_never_mixed(context, tmp_path):
    first, second, third = made(6)[0], made(6, name="bb")[0], made(6, degrees=None)[0]
    wide = Context(replace(DESIGN, model_degrees=16.0), context.results, context.data, progress=False)
    seen = [
        placing.placed(context, first, 24, "rgb"), placing.placed(context, second, 24, "rgb"),
        placing.placed(context, third, 24, "rgb"), placing.placed(wide, first, 24, "rgb"),
        placing.placed(context, first, 24, "grey"), placing.placed(context, first, 25, "rgb")[:, :24, :24],
    ]  # fmt: skip
    for i, one in enumerate(seen):
        for other in seen[i + 1 :]:
            assert not np.array_equal(one, other)


def test_a_stimulus_is_placed_once_for_all_networks_of_a_size_and_colour(context):
    stimuli, read = made(20)
    run = DESIGN.trained_runs()[0]
    first = [recordings.show(context, run, stimuli)(i, min(20, i + 8)) for i in (0, 8, 16)]
    assert sorted(read) == list(range(20))
    again = [recordings.show(context, other, stimuli)(i, min(20, i + 8)) for other in DESIGN.trained_runs()[1:3]
             for i in (0, 8, 16)]  # fmt: skip
    assert len(read) == 20
    for one, other in zip(first * 2, again):
        assert torch.equal(one, other)
    # One that goes on in the middle reads what is left alone.
    other, read = made(20, name="other")
    recordings.show(context, run, other)(16, 20)
    assert read == [16, 17, 18, 19]


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_memory_does_not_grow_with_the_stimuli(context, colour):
    peaks = []
    for n in (32, 320):
        stimuli, _ = made(n, name=f"{n}")
        placing.placed(context, made(2)[0], 24, colour)  # what is held for the first one
        tracemalloc.start()
        for _ in range(2):
            for start in range(0, n, 16):
                placing.placed(context, stimuli, 24, colour, start, start + 16)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 288 images more are 498 kB; which of them are there is noted in a byte each.
    assert peaks[1] - peaks[0] < 20_000


def test_the_file_has_no_name_and_ends_with_its_set(context):
    before = len(os.listdir("/proc/self/fd"))
    for i in range(2 * placing.MOST):
        placing.placed(context, made(3, name="x" * (i + 1))[0], 24, "rgb")
    assert len(os.listdir("/proc/self/fd")) - before == placing.MOST
    assert [p for p in context.results.rglob("*") if p.is_file()] == []
    for kept in placing._KEPT.values():
        kept.file.close()


def full(_):
    return shutil._ntuple_diskusage(100, 100, 4 * 3 * 24 * 24 * 10 - 1)  # a byte less than ten images may have


def test_without_room_stimuli_are_placed_anew(context, monkeypatch):
    stimuli, read = made(10)
    wanted = at_once(stimuli, 24, "grey")
    read.clear()
    monkeypatch.setattr(placing.shutil, "disk_usage", full)
    for _ in range(2):
        np.testing.assert_array_equal(placing.placed(context, stimuli, 24, "grey"), wanted)
    assert len(read) == 20


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "preadv"])
def test_a_disk_that_fails_costs_time_and_no_pixel(context, monkeypatch, call):
    stimuli, read = made(10)
    wanted = at_once(stimuli, 24, "rgb")
    read.clear()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(placing.os, call, fails)
    for _ in range(2):
        np.testing.assert_array_equal(placing.placed(context, stimuli, 24, "rgb"), wanted)
    assert len(read) == 20


def test_a_folder_that_cannot_be_made_costs_time_and_no_pixel(context):
    context.results.parent.mkdir(exist_ok=True)
    context.results.write_text("a file in the way")
    stimuli, _ = made(4)
    np.testing.assert_array_equal(placing.placed(context, stimuli, 24, "rgb"), at_once(stimuli, 24, "rgb"))


def test_pixels_are_those_of_the_whole_set(context):
    """The chance row, by batches and from all images at once."""
    stimuli, _ = made(extract.BATCH + 9)
    found, _ = extract.pixels(context, stimuli)
    x = torch.from_numpy(at_once(stimuli, 24, "rgb")).permute(0, 3, 1, 2).float()
    wanted = torch.nn.functional.interpolate(x, size=(16, 16), mode="area").flatten(1).numpy()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)
