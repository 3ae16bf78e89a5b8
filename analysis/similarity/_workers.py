"""Layers side by side, a core each, instead of one after the other on all cores.

The products that all regions share keep every core busy; what follows (many products of a matrix with one column,
and arithmetic on short arrays) keeps one busy, whatever the linear algebra is allowed. Layers do not depend on each
other, so that in one call for several the cores are better used by a layer each.
"""

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

R = TypeVar("R")
# Seconds after which waiting is begun anew: an interruption that another thread of the process took is seen then.
_PATIENCE = 0.2


def count(n_layers: int) -> int:
    """How many layers to work on at a time: as many as numpy's linear algebra has threads here (OMP_NUM_THREADS=1:
    one), and no more than there are."""
    if n_layers < 2:
        return 1
    threads = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return max(1, min(n_layers, min(threads, default=1)))


def ordered(layers: Iterator[tuple[str, Any]], work: Callable[[str, Any], R], workers: int) -> dict[str, R]:
    """{name: work(name, layer)} in the order of `layers`, which is read here, a layer whenever a worker is free.

    At most `workers` layers are held at a time. While several work the linear algebra of the process has one thread.
    The first error in the order of the layers is raised, once the layers before it are done; no layer is begun after
    one. KeyboardInterrupt is raised at once: what the workers have begun they finish, and nothing more.
    """
    if workers == 1:
        found = {}
        while (pair := next(layers, None)) is not None:
            name, layer = pair
            del pair
            found[name] = work(name, layer)
            del layer  # before the next is read
        return found
    todo: SimpleQueue[tuple[int, str, Any] | None] = SimpleQueue()
    done: SimpleQueue[tuple[int, str, R | None, BaseException | None]] = SimpleQueue()
    threads = [threading.Thread(target=_work, args=(todo, done, work), daemon=True) for _ in range(workers)]
    with threadpool_limits(1, user_api="blas"):
        for thread in threads:
            thread.start()
        try:
            results, errors = _handed_out(layers, todo, done, workers)
        finally:
            for _ in threads:
                todo.put(None)
    if errors:
        raise errors[min(errors)]
    return {name: result for _, (name, result) in sorted(results.items())}


def _handed_out(
    layers: Iterator[tuple[str, Any]], todo: SimpleQueue, done: SimpleQueue, workers: int
) -> tuple[dict[int, tuple[str, Any]], dict[int, BaseException]]:
    """Names and results, and errors, by the number of the layer."""
    results: dict[int, tuple[str, Any]] = {}
    errors: dict[int, BaseException] = {}
    begun = ended = 0
    more = True
    while more or ended < begun:
        if more and begun - ended < workers:
            try:
                todo.put((begun, *next(layers)))
                begun += 1
            except StopIteration:
                more = False
            except Exception as error:  # those before it may fail as well, and then theirs is the first
                errors[begun] = error
                more = False
            continue
        try:
            number, name, result, failure = done.get(timeout=_PATIENCE)
        except Empty:
            continue
        ended += 1
        if failure is None:
            results[number] = name, result
        else:
            errors[number] = failure
            more = False
    return results, errors


def _work(todo: SimpleQueue, done: SimpleQueue, work: Callable[[str, Any], Any]) -> None:
    while (task := todo.get()) is not None:
        number, name, layer = task
        del task
        result, failure = None, None
        try:
            result = work(name, layer)
        except BaseException as error:  # for the thread that asked
            failure = error
        del layer  # before the next is asked for
        done.put((number, name, result, failure))
        del result, failure
