"""Wrong words on the command line."""

import os
from pathlib import Path

from tests.bad_inputs import Bad, Room, bad

C = "command line"


def simple(what: str, words: list[str], *says: str, status: int = 1) -> Bad:
    return Bad(C, what, lambda room: room.command(*words), says, status)


MORE = (
    simple("an unknown profile", ["draw", "--profile", "cifar"], "cifar", "did you mean 'cifar10'"),
    simple("an empty profile name", ["draw", "--profile", ""], "unknown profile ''"),
    simple("an unknown verb", ["tarin"], "invalid choice: 'tarin'", status=2),
    simple("no verb", [], "VERB", status=2),
    simple("a run pattern that fits nothing", ["train", "--only", "resnet99*"], "resnet99*", "fits none"),
    simple("an unknown recording", ["score", "--recording", "cowly2023"], "cowly2023", "did you mean 'cowley2023'"),
    simple("a made-up recording whose source is not trained", ["score", "--recording", "planted"], "train it first"),
    simple("a device that is none", ["train", "--device", "gpu"], "'gpu'", "use cpu"),
    simple("a device that holds no numbers", ["train", "--device", "meta"], "'meta'", "use cpu"),
    simple("planning on a device that holds no numbers", ["plan", "--budget", "30m", "--device", "meta"], "'meta'"),
    simple("a learning rate on a device that holds no numbers", ["find-lr", "--device", "meta"], "'meta'"),
    simple("a device of Apple's", ["train", "--device", "mps"], "'mps'", "use cpu"),
    simple("a GPU of a negative number", ["train", "--device", "cuda:-1"], "'cuda:-1'", "use cpu"),
    simple("a GPU that is not there", ["train", "--device", "cuda:7"], "cuda:7", "--device"),
    simple("a budget without a unit", ["train", "--budget", "30"], "'30'", "30m"),
    simple("a budget of words", ["train", "--budget", "soon"], "'soon'", "30m"),
    simple("a budget of two points", ["train", "--budget", "1.2.3h"], "'1.2.3h'", "30m"),
    simple("a budget of nothing", ["train", "--budget", "0m"], "'0m'", "30m"),
    simple("a negative budget", ["train", "--budget=-1h"], "'-1h'", "30m"),
    simple("a budget beyond all numbers", ["train", "--budget", "9" * 400 + "h"], "30m"),
    simple("a budget too short for one epoch", ["train", "--budget", "0.001s"], "too short"),
    simple("a tracker that is none", ["train", "--tracker", "tensorbord"], "tensorbord", "did you mean 'tensorboard'"),
    simple("a data set that nobody offers", ["data", "fetch", "cifar100"], "cifar100", "did you mean 'cifar10'"),
    simple("a session that was never recorded", ["data", "fetch", "cowley2023-999999"], "999999"),
    simple("an unknown action on data", ["data", "delete"], "invalid choice: 'delete'", status=2),
)


def _zoo(what: str, words: list[str], *says: str, status: int = 1) -> Bad:
    return Bad(C, what, lambda _: ["models", *words], says, status)


MORE += (
    _zoo("an unknown network", ["resnet81"], "resnet81", "did you mean 'resnet18'"),
    _zoo("an unknown library of networks", ["keras:resnet50"], "keras"),
    _zoo("an unknown network of torchvision", ["torchvision:resnet19"], "resnet19"),
    _zoo("an unknown kind of attention", ["resnet18", "--attention", "aacm"], "aacm", "did you mean 'aacn'"),
    _zoo("zero heads", ["cornet_z", "--attention", "aacn", "--heads", "0"], "heads 0 must"),
    _zoo("heads that do not divide", ["cornet_z", "--attention", "aacn", "--heads", "7"], "7 heads"),
    _zoo("heads that are no number", ["cornet_z", "--heads", "four"], "'four'", status=2),
    _zoo("images of no size", ["cornet_z", "--image-size", "0"], "image size 0"),
)


@bad(C, "verify -1 scores", "--n -1")
def negative_n(room: Room) -> list[str]:
    room.finished()
    return room.command("verify", "--n", "-1")


@bad(C, "verify with a negative seed", "-3", "0 or more")
def negative_seed(room: Room) -> list[str]:
    room.finished()
    return room.command("verify", "--seed", "-3")


def power(what: str, words: list[str], *says: str) -> Bad:
    def make(room: Room) -> list[str]:
        twins = Path(__file__).resolve().parent.parent / "results" / "photos" / "tables" / "twins.csv"
        room.put(room.results / "demo" / "tables" / "twins.csv", twins.read_bytes())
        return room.command("power", *words)

    return Bad(C, what, make, says)


MORE += (
    power("power of an effect that is no number", ["--effect", "nan"], "nan"),
    power("power of an endless effect", ["--effect", "inf"], "inf"),
    power("power of no effect", ["--effect", "0"], "an effect of 0"),
    power("power of no simulations", ["--n-simulations", "0"], "0 simulations"),
    power("power of an unknown quantity", ["--quantity", "acuracy:blended_both"], "did you mean"),
    power("power with a negative seed", ["--seed", "-1"], "-1"),
)


@bad(C, "a region that the recording has not", "planted-V4", "no recording fits")
def no_region(room: Room) -> list[str]:
    room.finished()
    return room.command("score", "--recording", "planted-V4")


@bad(C, "a results folder that is a file", "results", "--results")
def results_is_a_file(room: Room) -> list[str]:
    room.results.write_text("not a folder")
    return room.command("train")


def into_a_file(verb: str, *words: str) -> Bad:
    def make(room: Room) -> list[str]:
        room.results.write_text("not a folder")
        return room.command(verb, *words)

    return Bad(C, f"{verb}: a results folder that is a file", make, ("results is a file", "--results"))


MORE += (
    *map(into_a_file, ("status", "doctor", "predict", "draw", "report", "correlate")),
    into_a_file("data", "check"),
    into_a_file("import-legacy", "blended.pth", "--training", "blended"),
    Bad(C, "a bill of materials into a folder", lambda room: ["sbom", str(room.folder)], ("is a folder", "a file")),
    Bad(C, "a bill of materials into this folder", lambda room: ["sbom", "."], ("is a folder", "a file")),
)


def on(device: str, *words: str) -> Bad:
    def make(room: Room) -> list[str]:
        room.finished()
        return room.command(*words, "--force", "--device", device)

    return Bad(C, f"{words[0]} on {device}", make, (f"'{device}'", "use cpu"))


MORE += (on("mps", "predict"), on("meta", "extract"))


@bad(C, "a results folder below a file", "README.md is a file", "--results")
def results_below_a_file(room: Room) -> list[str]:
    (room.folder / "README.md").write_text("not a folder")
    return ["status", "--results", str(room.folder / "README.md" / "results")]


@bad(C, "a data folder that is not there", "nowhere", "--data")
def no_data(room: Room) -> list[str]:
    room.profile(sources=("caltech101",))
    return ["train", "--data", str(room.folder / "nowhere"), "--results", str(room.results)]


@bad(C, "a step before the one that it needs", "blendnet score")
def too_early(room: Room) -> list[str]:
    return room.command("correlate")


@bad(C, "drawing without tables", "blendnet")
def draw_nothing(room: Room) -> list[str]:
    return room.command("draw", "--check")


@bad(C, "exporting a run that the sheet has not", "resnet18-none-blended-s0")
def export_unknown(room: Room) -> list[str]:
    return room.command("export-brainscore", "resnet18-none-blended-s0", str(room.folder / "plugin"))


@bad(C, "exporting with a layer that is none", "'V9'")
def export_layer(room: Room) -> list[str]:
    room.finished()
    return room.command(
        "export-brainscore", "cornet_z-none-blended-s0", str(room.folder / "plugin"), "--layer", "V9=V1.output"
    )


@bad(C, "a run id that is none, in a profile's controls", "mobilenet", "NETWORK-ATTENTION")
def no_run_id(room: Room) -> list[str]:
    room.profile(controls=("mobilenet",))
    return room.command("train")


@bad(C, "torchrun's WORLD_SIZE is a word", "WORLD_SIZE", "'two'")
def world_size(room: Room) -> object:
    from pipelines import cli

    def call() -> None:
        before = os.environ.get("WORLD_SIZE")
        os.environ["WORLD_SIZE"] = "two"
        try:
            status = cli.main(room.command("draw"))
        finally:
            if before is None:
                del os.environ["WORLD_SIZE"]
            else:
                os.environ["WORLD_SIZE"] = before
        raise SystemExit(status)

    return call  # type: ignore[return-value]
