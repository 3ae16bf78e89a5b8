"""Profiles of the sheet that cannot be run."""

from dataclasses import replace
from typing import Any

from pipelines import sheet
from tests.bad_inputs import SMALL, Bad, Room

C = "the sheet"


def profile(what: str, *says: str, **changes: Any) -> Bad:
    def make(room: Room) -> list[str]:
        room.profile(**changes)
        return room.command("train")

    return Bad(C, f"a profile with {what}", make, ("profile 'demo'", *says))


def recipe(what: str, *says: str, **changes: Any) -> Bad:
    return profile(what, *says, recipe=replace(SMALL.recipe, **changes))


MORE = (
    profile("an unknown network", "unknown network 'resnet19'", networks=("resnet19",)),
    profile("a network of an unknown kind of attention", "'aacm'", "did you mean 'aacn'", attentions=("none", "aacm")),
    profile("an unknown image source", "'imagefoldr'", "did you mean 'imagefolder'", sources=("imagefoldr",)),
    profile("an unknown recording", "'cowley2032'", "did you mean 'cowley2023'", recordings=("cowley2032",)),
    profile("an unknown metric", "'plss'", "did you mean 'pls'", metrics=("plss",)),
    profile("an unknown training", "'blend'", "did you mean 'blended'", trainings=("blend",)),
    profile("images of 0 px", "image_size 0", image_size=0),
    profile("images of 1.5 px", "image_size 1.5", image_size=1.5),
    profile("images of a million px", "image_size 1000000", image_size=10**6),
    profile("an alpha of 1.2", "alphas 1.2", "0 to 1", alphas=(0.5, 1.2)),
    profile("an alpha of NaN", "alphas nan", alphas=(0.5, float("nan"))),
    profile("no alpha of 0.5", "lack 0.5", alphas=(0.1, 0.9)),
    profile("no alphas", "lack 0.5", alphas=()),
    profile("no seeds", "seeds ()", seeds=()),
    profile("a negative seed", "seeds -1", seeds=(-1,)),
    profile("a seed that is there twice", "seeds 0", "twice", seeds=(0, 0)),
    profile("fractions that do not sum to 1", "(0.7, 0.2, 0.2)", fractions=(0.7, 0.2, 0.2)),
    profile("fractions of which one is 0", "(0.8, 0.2, 0.0)", fractions=(0.8, 0.2, 0.0)),
    profile("a held-out pair of an unknown class", "'zebra'", held_out=frozenset({("cat", "zebra")})),
    profile("a held-out pair of one class", "pair of two", held_out=frozenset({("cat", "cat")})),
    profile("one class", "fewer than two", classes=("cat",)),
    profile("a class that is there twice", "'demo'", "classes cat", classes=("cat", "cat", "dog")),
    profile("an unknown colour", "'gray'", "did you mean 'grey'", colour="gray"),
    profile("no blends a pair", "test_per_pair 0", test_per_pair=0),
    profile("all stimuli in the test half", "split_test 1.0", split_test=1.0),
    profile("a made-up source of planted neurons", "resnet18", planted=sheet.Planted("resnet18", {"V1": "layer1.0"})),
    recipe("a learning rate of -1", "recipe.lr -1", lr=-1.0),
    recipe("a batch of no images", "recipe.batch_size 0", batch_size=0),
    recipe("blends of alpha 0.9 to 0.1", "recipe.alpha", alpha=(0.9, 0.1)),
)
# What Run.from_id says of a run names no profile.
MORE = tuple(replace(b, says=b.says[1:]) if "planted neurons" in b.what else b for b in MORE)
