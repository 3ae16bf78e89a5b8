"""Locks: one holder at a time, whoever dies, whatever the clocks say."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from blendnet import files, locks
from blendnet.errors import BlendnetError
from blendnet.locks import Lock

SPAWN = multiprocessing.get_context("spawn")


def hold(path, ready):
    """A process that takes the lock and keeps it until it is killed."""
    assert Lock(path).acquire()
    ready.set()
    time.sleep(60)


def count(path, counter, turns):
    """Adds to a number in a file, reading and writing apart, so that two at a time would lose some."""
    for _ in range(turns):
        lock = Lock(path)
        locks.wait(lock, poll=0.002)
        value = int(counter.read_text())
        time.sleep(0.001)
        counter.write_text(str(value + 1))
        lock.release()


def other_owner(path, *, host="elsewhere", pid=1, age=0.0, word="theirs"):
    path.write_text(json.dumps({"word": word, "host": host, "name": host, "pid": pid, "began": "1"}))
    then = time.time() - age
    os.utime(path, (then, then))


def test_held_by_one_and_free_again(tmp_path):
    first, second = Lock(tmp_path / "a.lock"), Lock(tmp_path / "a.lock")
    assert first.acquire()
    assert first.held()
    assert not second.acquire()
    assert not second.held()
    first.release()
    assert second.acquire()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_many_processes_take_turns(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [SPAWN.Process(target=count, args=(tmp_path / "a.lock", counter, 25)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert counter.read_text() == "100"


def test_a_killed_owner_frees_its_lock_at_once(tmp_path):
    ready = SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(tmp_path / "a.lock", ready))
    process.start()
    assert ready.wait(30)
    lock = Lock(tmp_path / "a.lock")
    assert not lock.acquire()
    os.kill(process.pid, signal.SIGKILL)
    while True:  # not waited for yet: a zombie, which is dead all the same
        if lock.acquire():
            break
        time.sleep(0.01)
    assert lock.held()
    process.join()
    lock.release()


def test_a_process_number_that_is_used_again_is_not_the_owner(tmp_path):
    path = tmp_path / "a.lock"
    other_owner(path, host=files.here(), pid=os.getpid())  # this process, but it began at another time
    lock = Lock(path)
    assert lock.acquire()
    lock.release()


def test_an_owner_elsewhere_is_dead_by_age_alone(tmp_path):
    path = tmp_path / "a.lock"
    other_owner(path, age=locks.STALE_S - 30)
    assert not Lock(path).acquire()
    other_owner(path, age=locks.STALE_S + 30)
    lock = Lock(path)
    assert lock.acquire()
    lock.release()


def test_age_is_measured_by_the_file_servers_clock(tmp_path, monkeypatch):
    path = tmp_path / "a.lock"
    other_owner(path)
    for wrong in (0.0, time.time() + 1e6):  # our clock went back, or forth
        monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
        assert not Lock(path).acquire()


def test_an_owner_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "TOUCH_S", 0.02)
    path = tmp_path / "a.lock"
    with Lock(path):
        os.utime(path, (0, 0))
        until = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_who_loses_its_lock_neither_touches_nor_removes_the_new_one(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "TOUCH_S", 0.02)
    path = tmp_path / "a.lock"
    lock = Lock(path)
    assert lock.acquire()
    other_owner(path, word="new owner")
    os.utime(path, (0, 0))
    assert not lock.held()
    time.sleep(0.2)
    assert path.stat().st_mtime == 0
    lock.release()
    assert json.loads(path.read_text())["word"] == "new owner"


def test_a_live_lock_that_was_renamed_by_mistake_comes_back(tmp_path):
    """Between judging a lock dead and clearing it, another process has cleared it and taken its own."""
    path = tmp_path / "a.lock"
    other_owner(path, word="alive")
    assert not Lock(path)._clear({"word": "dead one"})
    assert json.loads(path.read_text())["word"] == "alive"
    assert [p.name for p in tmp_path.iterdir()] == ["a.lock"]


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", no_links)
    first, second = Lock(tmp_path / "a.lock"), Lock(tmp_path / "a.lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()


def test_a_lock_nobody_can_read_dies_by_age(tmp_path):
    path = tmp_path / "a.lock"
    path.write_text("")
    assert not Lock(path).acquire()
    os.utime(path, (0, 0))
    lock = Lock(path)
    assert lock.acquire()
    lock.release()


def test_waiting_in_vain_names_the_owner(tmp_path):
    path = tmp_path / "a.lock"
    other_owner(path, host="node7", pid=123)
    with pytest.raises(BlendnetError, match=r"held by process 123 on node7; wait for it, or end it"):
        locks.wait(Lock(path), seconds=0.05, poll=0.01)


def test_a_folder_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BlendnetError, match="is in the way; choose another folder"):
        Lock(file / "a.lock").acquire()


@pytest.mark.parametrize(
    "content", ["[]", '"x"', "[" * 5000, '{"pid": "x"}', '{"word": 5}', '{"host": [1]}', '{"pid": -1}', "{", "\xff"]
)
def test_what_is_no_lock_of_ours_says_nothing_and_dies_by_its_age(tmp_path, content):
    path = tmp_path / "a.lock"
    path.write_text(content, encoding="latin-1")
    assert locks.read(path) == {}
    assert not locks.dead(path, {})
    assert locks.owner(path) == "process ? on an unknown host"


def test_a_process_number_that_none_can_have_is_of_a_dead_owner(tmp_path):
    path = tmp_path / "a.lock"
    path.write_text(json.dumps({"host": files.here(), "pid": 10**30}))
    assert locks.dead(path, locks.read(path))


def test_below_a_file_there_is_no_lock(tmp_path):
    """Else `blendnet status --results README.md` would list every unit as running."""
    (tmp_path / "README.md").write_text("no folder")
    assert locks.read(tmp_path / "README.md" / "demo" / "locks" / "train-x.lock") is None
