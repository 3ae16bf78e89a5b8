"""Training batches without end: pure functions of (seed, step), prepared on the device.

Where the train split fits beside the network it lies on the device as one uint8 tensor, and blends, crops, flips and
colours are made there. Where it does not, a thread gathers the rows of the next steps on the host and copies them over
while the device computes. Both ways give the same bits.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from blendnet.data import blended
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.run import Recipe, Run
from blendnet.training import augment, schedule

Batch = tuple[torch.Tensor, torch.Tensor]

# Of the free device memory the photographs may take this part; the rest is for the network and its activations.
SHARE = 0.25
_AHEAD = 3  # steps that the background thread is in front


@dataclass(frozen=True)
class Plan:
    """All that is drawn for the images of one step, on the CPU: n images from one or two photographs each.

    rows: positions in the train split, int64 (k, n), k = 2 for blends, 1 for regular images; alpha: weight of the
    first, float (n,), or None; views: crops and flips, (k, n, ...) as augment.draw_views gives them; factors: of the
    colour jitter, float (k, n, 3), or None; targets: multi-hot, float (n, n_classes).
    """

    rows: torch.Tensor
    alpha: torch.Tensor | None
    views: torch.Tensor
    factors: torch.Tensor | None
    targets: torch.Tensor


class Batches:
    """The training batches of one run; call it with (step, size), or go through steps(start, stop, size).

    resident: the photographs lie on the device; None decides by `fits`. rank, world: this process prepares the
    rank-th of world equal slices of every batch; all processes draw the same whole batch, so that its images do not
    depend on how many they are.
    """

    def __init__(
        self, photos: PhotoSet, run: Run, recipe: Recipe, held_out: frozenset, space: str, device: torch.device,
        *, resident: bool | None = None, rank: int = 0, world: int = 1,
    ):  # fmt: skip
        index = torch.from_numpy(np.flatnonzero(photos.split == "train"))
        self.labels = photos.labels[index]
        self.identity = photos.identity[index.numpy()]
        self.n_classes = len(photos.classes)
        self.run, self.recipe, self.held_out, self.space, self.device = run, recipe, held_out, space, device
        self.rank, self.world = rank, world
        size = len(index) * photos.images[0].numel()
        self.resident = fits(size, device) if resident is None else resident
        # On the CPU, or left on the host, rows are taken from where they lie: no second copy of the photographs.
        moved = self.resident and device.type != "cpu"
        self.images = photos.images[index].to(device) if moved else photos.images
        self.place = None if moved else index

    def __call__(self, step: int, size: int) -> Batch:
        """Normalised images (size / world, 3, S, S) and targets (size / world, n_classes) of one step."""
        plan = self.plan(step, size)
        return self.make(plan, self.gather(plan))

    def plan(self, step: int, size: int) -> Plan:
        """What the step draws, of which this process's slice is kept. size: of the whole batch.

        The order of the draws is part of every checkpoint's identity: what is new is drawn last.
        """
        recipe = self.recipe
        generator = augment.step_generator(self.run.seed, step)
        if self.run.training == "regular":
            rows = torch.randint(len(self.labels), (size,), generator=generator)[None]
            alpha = None
        else:
            a, b, alpha = blended.draw_pairs(
                self.labels, self.identity, size, seed=self.run.seed, step=step,
                alpha=self._alpha_range(step), held_out=self.held_out,
            )  # fmt: skip
            rows = torch.stack([a, b])
        views = torch.stack(
            [augment.draw_views(size, generator, crop_scale=recipe.crop_scale, flip=recipe.flip) for _ in rows]
        )
        factors = None
        if recipe.jitter:
            factors = torch.stack([augment.draw_jitter(size, generator, recipe.jitter) for _ in rows])
        mine = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
        rows = rows[:, mine]
        # Smoothing after the sum of the ones, in this order: its rounding is part of old checkpoints.
        smooth = recipe.label_smoothing
        targets = F.one_hot(self.labels[rows], self.n_classes).sum(0).float() * (1 - smooth) + smooth / 2
        return Plan(
            rows, None if alpha is None else alpha[mine], views[:, mine],
            None if factors is None else factors[:, mine], targets,
        )  # fmt: skip

    def gather(self, plan: Plan) -> torch.Tensor:
        """The photographs of a plan, first images then second, uint8 (k * n, 3, S, S), where the photographs lie."""
        rows = plan.rows.flatten()
        return self.images.index_select(0, (rows if self.place is None else self.place[rows]).to(self.images.device))

    def make(self, plan: Plan, rows: torch.Tensor) -> Batch:
        """The batch of a plan from its photographs (uint8, as gather gives them), on the device of the rows."""
        images = augment.show(rows.float().div_(255), plan.views.flatten(0, 1))
        if plan.factors is not None:
            images = augment.jitter(images, plan.factors.flatten(0, 1))
        if plan.alpha is not None:
            a, b = images.chunk(2)
            images = blended.blend(a, b, plan.alpha, space=self.space)
        return augment.normalise(images), plan.targets.to(self.device, non_blocking=True)

    def steps(self, start: int, stop: int, size: int) -> Generator[Batch, None, None]:
        """The batches of steps start to stop - 1 in order, the next ones being prepared while one is used."""
        if self.resident:
            # A GPU queues what it is given, and a CPU is busy with the network: a thread would gain nothing.
            for step in range(start, stop):
                yield self(step, size)
            return
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        waiting: deque[Future] = deque()
        with ThreadPoolExecutor(1, "feed") as pool:
            try:
                for step in range(start, stop):
                    while len(waiting) < _AHEAD and step + len(waiting) < stop:
                        waiting.append(pool.submit(self._ahead, step + len(waiting), size, stream))
                    plan, rows, ready = waiting.popleft().result()
                    if ready is not None:
                        here = torch.cuda.current_stream(self.device)
                        here.wait_event(ready)
                        rows.record_stream(here)  # else the side stream could reuse its memory too early
                    yield self.make(plan, rows)
            finally:
                for future in waiting:
                    future.cancel()

    def _ahead(self, step: int, size: int, stream: "torch.cuda.Stream | None"):
        """In the thread: plan and photographs of a step, the latter on their way to the device."""
        plan = self.plan(step, size)
        if stream is None:
            return plan, self.gather(plan).to(self.device), None
        place = plan.rows.flatten() if self.place is None else self.place[plan.rows.flatten()]
        # Pinned memory comes from PyTorch's pool, which waits by itself until the copy out of it has ended.
        pinned = torch.empty(len(place), *self.images.shape[1:], dtype=torch.uint8, pin_memory=True)
        torch.index_select(self.images, 0, place, out=pinned)
        with torch.cuda.stream(stream):
            rows = pinned.to(self.device, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record(stream)
        return plan, rows, ready

    def _alpha_range(self, step: int) -> tuple[float, float]:
        if self.run.training != "curriculum":
            return self.recipe.alpha
        return schedule.alpha_range(self.recipe, step, schedule.steps_per_epoch(self.recipe))


def fits(n_bytes: int, device: torch.device) -> bool:
    """True where photographs of n_bytes may lie on the device: on the CPU they lie there already; on a GPU they may
    take a quarter (SHARE) of the memory that is free now."""
    if device.type != "cuda":
        return device.type == "cpu"
    return n_bytes <= SHARE * torch.cuda.mem_get_info(device)[0]


def check_split(recipe: Recipe, world: int) -> None:
    """Raises BlendnetError where the recipe's batch cannot be shared evenly by `world` processes."""
    if recipe.batch_size % world:
        raise BlendnetError(
            f"batch size {recipe.batch_size} of recipe {recipe.name!r} is not shared evenly by {world} processes; "
            "start a number of processes that divides it"
        )
