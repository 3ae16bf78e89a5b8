"""Runs the notebooks for their tests: through IPython in this process, or in a kernel of their own."""

import base64
import queue
import time
import types
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NAMES = (
    "1_look_at_blends.ipynb", "2_one_run_one_area.ipynb", "3_explore_layers.ipynb", "4_scores_to_figures.ipynb",
    "5_your_own.ipynb",
)  # fmt: skip


class Ran(NamedTuple):
    """What a notebook left: its names, all that it printed, its pictures, its tables as HTML, and its error."""

    names: dict[str, Any]
    said: str
    pictures: list[bytes]
    html: list[str]
    error: BaseException | None


def read(name):
    return nbformat.read(FOLDER / name, as_version=4)


def code_of(name):
    return [cell.source for cell in read(name).cells if cell.cell_type == "code"]


def execute(name, cells=None):
    """The code cells one after the other, as a kernel runs them; stops at the first that fails."""
    settings = Config()
    settings.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    # A module of its own: the shell would put itself in the place of __main__.
    shell = InteractiveShell.instance(config=settings, user_module=types.ModuleType("notebook_under_test"))
    error = None
    try:
        with capture_output() as captured:
            for source in cells or code_of(name):
                done = shell.run_cell(source, store_history=False)
                error = done.error_before_exec or done.error_in_exec
                if error is not None:
                    break
    finally:
        InteractiveShell.clear_instance()
    shown = [output.data for output in captured.outputs]
    pictures = [d["image/png"] for d in shown if "image/png" in d]
    pictures = [base64.b64decode(p) if isinstance(p, str) else p for p in pictures]
    html = [d["text/html"] for d in shown if "text/html" in d]
    return Ran(dict(shell.user_ns), captured.stdout + captured.stderr, pictures, html, error)


def in_a_kernel(notebook):
    """The client that has executed all cells in a kernel of their own; raises CellExecutionError for one that fails.

    nbclient sends widgets' messages on the very channel on which it waits for a cell's reply, and then may sleep past
    it until the cell's timeout (jupyter/nbclient issue 312); waiting in short slices finds the reply.
    """
    client = NotebookClient(notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}})
    with client.setup_kernel():
        channel = client.kc.shell_channel
        wait = channel.get_msg

        async def in_slices(timeout=None):
            end = time.monotonic() + (1e9 if timeout is None else timeout)
            while True:
                try:
                    return await wait(timeout=max(0, min(0.2, end - time.monotonic())))
                except queue.Empty:
                    if time.monotonic() >= end:
                        raise

        channel.get_msg = in_slices
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    return client
