"""Ways to train. `study` is Portscher et al. 2022's; `modern` is the default because it learns.

The study's recipe (RMSprop, lr 0.1, momentum 0.9, 70 epochs from scratch) was made for its own, larger set. On a few
hundred photographs a class RMSprop at lr 0.1 throws randomly initialised weights far off in the first steps and the
step schedule spends 40 of 70 epochs undoing it. `modern` is AdamW with warm-up and cosine decay, random resized
crops and blends of random weight: every epoch shows new pairs, which is what keeps a network of 11 million weights
from learning two thousand photographs by heart.
"""

from dataclasses import replace

from blendnet.errors import unknown
from blendnet.run import Recipe

STUDY = Recipe(
    name="study", optimizer="rmsprop", lr=0.1, momentum=0.9, weight_decay=1e-5, batch_size=128, epochs=70,
    epoch_size=8192, schedule="step", step_epochs=20, warmup_epochs=0.0, flip=True, crop_scale=1.0, alpha=(0.5, 0.5),
)  # fmt: skip

MODERN = Recipe(
    name="modern", optimizer="adamw", lr=1e-3, momentum=0.9, weight_decay=0.05, batch_size=64, epochs=100,
    epoch_size=8192, schedule="cosine", warmup_epochs=1.0, flip=True, crop_scale=0.5, alpha=(0.3, 0.7),
)  # fmt: skip

RECIPES = {"study": STUDY, "modern": MODERN}


def recipe(name: str, **changes) -> Recipe:
    """A recipe by name, with changes: recipe('modern', epochs=20)."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return replace(RECIPES[name], **changes)
