"""Layers side by side: the numbers, the errors and the memory of layers one after the other."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from analysis.similarity import _workers, pls, ridge
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError

MANY = {
    "pls": (pls.score, pls.score_many, {}),
    "ridge": (ridge.score, ridge.score_many, {}),
    "fixed": (ridge.score, ridge.score_many, {"fixed_alpha": 1.0}),
}
each_metric = pytest.mark.parametrize("metric", MANY)


@pytest.fixture
def three_workers(monkeypatch):
    monkeypatch.setattr(_workers, "count", lambda n_layers: min(3, n_layers))


def material(n=60, n_layers=7):
    """Layers narrower and wider than the stimuli, a region of few neuroids and one of many."""
    rng = np.random.default_rng(0)
    xs = {f"layer{i}": rng.normal(size=(n, 20 + 15 * i)) for i in range(n_layers)}
    source = rng.normal(size=(n, 8))
    xs = {name: np.concatenate([x, source], axis=1) for name, x in xs.items()}
    ys = {region: source @ rng.normal(size=(8, q)) + rng.normal(size=(n, q)) for region, q in (("V4", 5), ("IT", 140))}
    return xs, ys, shuffle_splits(n, n_splits=3)


class Lazy(Mapping):
    """Layers that are made when they are asked for, and how many of them are alive."""

    def __init__(self, layers, failing=()):
        self.layers, self.failing, self.read, self.alive, self.most = layers, failing, [], 0, 0
        self.lock = threading.Lock()

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, name):
        if name in self.failing:
            raise OSError(f"{name} cannot be read")
        x = self.layers[name].copy()
        with self.lock:
            self.read.append(name)
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(x, self._gone)
        return x

    def _gone(self):
        with self.lock:
            self.alive -= 1


@each_metric
@pytest.mark.parametrize("torch_too", [False, True])
def test_side_by_side_gives_the_numbers_of_single_calls(metric, torch_too, three_workers):
    score, score_many, options = MANY[metric]
    xs, ys, splits = material()
    given = xs
    if torch_too:
        torch = pytest.importorskip("torch")
        given = {name: torch.from_numpy(x) for name, x in xs.items()}
    found = score_many(given, ys, splits, **options)
    assert list(found) == list(xs)
    for layer, x in xs.items():
        assert list(found[layer]) == list(ys)
        for region, y in ys.items():
            alone = score(x, y, splits, **options)
            assert np.isfinite(alone).all()
            np.testing.assert_allclose(found[layer][region], alone, atol=1e-10, rtol=0)


@each_metric
def test_the_number_of_workers_does_not_change_a_bit(metric, monkeypatch):
    """Beside equal limits of memory, which decide what is computed together."""
    _, score_many, options = MANY[metric]
    xs, ys, splits = material()
    found = []
    for workers in (1, 3):
        monkeypatch.setattr(_workers, "count", lambda n_layers, workers=workers: workers)
        found.append(score_many(xs, ys, splits, max_bytes=workers * 2**28, **options))
    for layer in xs:
        for region in ys:
            assert np.array_equal(found[0][layer][region], found[1][layer][region])


@pytest.mark.parametrize("workers", [1, 3])
def test_lazy_layers_are_never_held_together(workers, monkeypatch):
    monkeypatch.setattr(_workers, "count", lambda n_layers: workers)
    xs, ys, splits = material()
    lazy = Lazy(xs)
    found = pls.score_many(lazy, ys, splits)
    assert lazy.read == list(xs)  # each once, in order
    assert lazy.most <= workers
    assert lazy.alive == 0
    np.testing.assert_allclose(found["layer3"]["V4"], pls.score(xs["layer3"], ys["V4"], splits), atol=1e-10)


def test_layers_do_go_side_by_side():
    """Each of two waits for the other, which one after the other would never end."""
    meet = threading.Barrier(2, timeout=60)
    threads = _workers.ordered(
        iter([("a", 1), ("b", 2)]), lambda name, layer: (meet.wait() >= 0, threading.get_ident()), 2
    )
    assert [waited for waited, _ in threads.values()] == [True, True]
    assert len({ident for _, ident in threads.values()} | {threading.get_ident()}) == 3


def test_as_many_workers_as_the_linear_algebra_has_threads():
    for code, environment in [("1", {"OMP_NUM_THREADS": "1"}), ("2", {"OMP_NUM_THREADS": "2"})]:
        ask = "import numpy; from analysis.similarity import _workers; print(_workers.count(20), _workers.count(1))"
        ran = subprocess.run(
            [sys.executable, "-c", ask], env={"PATH": "", **environment}, check=True, capture_output=True, text=True
        )
        # A machine with one core gives one thread, whatever is asked for.
        assert ran.stdout.split() == [str(min(int(code), os.cpu_count())), "1"]


def test_one_thread_means_no_thread(monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("a thread was begun")

    monkeypatch.setattr(threading, "Thread", refused)
    xs, ys, splits = material(n_layers=3)
    with threadpool_limits(1, user_api="blas"):
        assert list(pls.score_many(xs, ys, splits)) == list(xs)


def test_responses_in_torch_go_one_layer_at_a_time(monkeypatch):
    """Torch has threads, or a device, of its own."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(_workers, "count", lambda n_layers: pytest.fail("asked for workers"))
    xs, ys, splits = material(n_layers=2)
    tensors = {region: torch.from_numpy(y) for region, y in ys.items()}
    assert list(pls.score_many(xs, tensors, splits)) == list(xs)


def test_the_linear_algebra_has_its_threads_again_afterwards(three_workers):
    def blas():
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    xs, ys, splits = material()
    before = blas()
    pls.score_many(xs, ys, splits)
    assert blas() == before
    with pytest.raises(BlendnetError):
        pls.score_many({**xs, "layer2": xs["layer2"][:9]}, ys, splits)
    assert blas() == before


@each_metric
def test_the_first_error_in_order_is_raised_and_names_its_layer(metric, three_workers):
    _, score_many, options = MANY[metric]
    xs, ys, splits = material()
    spoiled = {name: x.copy() for name, x in xs.items()}
    for name in ("layer2", "layer3", "layer5"):
        spoiled[name][4, 1] = np.nan
    lazy = Lazy(spoiled)
    for _ in range(5):
        with pytest.raises(BlendnetError, match=r"layer 'layer2'.*feature 1 is nan at stimulus 4") as error:
            score_many(lazy, ys, splits, **options)
        assert "\n" not in str(error.value)
        assert "layer6" not in lazy.read


def test_a_layer_that_cannot_be_read_ends_the_call_after_earlier_errors(three_workers):
    xs, ys, splits = material()
    with pytest.raises(OSError, match="layer3 cannot be read"):
        pls.score_many(Lazy(xs, failing=("layer3",)), ys, splits)
    xs["layer1"] = xs["layer1"][:7]
    with pytest.raises(BlendnetError, match="layer 'layer1'"):
        pls.score_many(Lazy(xs, failing=("layer3",)), ys, splits)


def test_an_interruption_is_raised_at_once():
    """While both workers are at work on something that would take a minute."""
    # A test run in the background (`nohup … &`) begins with interrupts ignored, and would wait here for ever.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ends, finished = threading.Event(), []
    begun = threading.Semaphore(0)

    def work(name, layer):
        begun.release()
        ends.wait(60)
        finished.append(name)

    def interrupt():
        begun.acquire()
        begun.acquire()
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _workers.ordered(iter([(str(i), i) for i in range(9)]), work, 2)
        assert finished == []
    finally:
        ends.set()
        signal.signal(signal.SIGINT, before)
