"""checkpoint -> a model plugin of Brain-Score, ready to be submitted or to be scored by a local brainscore_vision.

The plugin stands alone: blendnet is not on any package index, so the source files that build the network are copied
into it, with their imports made relative. Weights are a safetensors file beside the code, or a file behind a URL,
checked by sha256 either way and never unpickled. Models enter Brain-Score by their identifier, under which it keeps
activations: it carries the hash of the weights.
"""

import ast
import re
import shutil
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path

import blendnet
from analysis import tables
from blendnet import checkpoint, models
from blendnet.errors import BlendnetError, unknown
from blendnet.files import make_folder, sha256_file, write_error, write_json, write_text
from blendnet.run import Run
from blendnet.training.augment import MEAN, STD
from pipelines import networks
from pipelines._brainscore_layers import REGIONS, Committed, committed
from pipelines._brainscore_plugin import INIT, MODEL, TEST
from pipelines.context import Context, say

PACKAGE = Path(blendnet.__file__).resolve().parent
# What a network is built from; what these files import of blendnet comes along.
BUNDLED = ("models", "attention", "errors.py", "data/brain/placement.py")
WEIGHTS = "weights.safetensors"
LARGE = 50 * 2**20  # a repository refuses files of 100 MB and warns of those above 50


def export(
    context: Context, run_id: str, into: Path, *, named: Sequence[str] = (), weights_url: str = ""
) -> Path:  # fmt: skip
    """Write into/brainscore_vision/models/NAME and return this folder; `into` may be a checkout of brain-score/vision.

    run_id: a run of the profile that has been trained and scored; named: 'V2=layer2.0' and the like, which go before
    the layers of scores.csv; weights_url: where the weights will be fetched from (https); they are then written beside
    the plugin, to be put there, and not into it. Raises BlendnetError for an unknown run, a region without a layer, a
    plugin that is already there.
    """
    known = {run.id: run for run in context.profile.scored_runs()}
    if run_id not in known:
        raise unknown("run", run_id, known)
    run = known[run_id]
    if weights_url and not re.fullmatch(r"https://[^\s'\"\\]+", weights_url):
        raise BlendnetError(f"--weights-url {weights_url!r} is no address; give one that begins with https://")
    layers = layers_of(context, run, named)
    weights = networks.weights(context, run)
    name = f"blendnet_{re.sub(r'[^A-Za-z0-9]+', '_', run.id)}_{weights[:8]}"
    plugin = into / "brainscore_vision" / "models" / name
    if plugin.exists():
        raise BlendnetError(f"{plugin} is already there; delete it, or export into another folder")
    make_folder(plugin.parent)
    # Written beside and renamed: a plugin that is there is whole.
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=plugin.parent) as temporary:
        folder = Path(temporary) / name
        _write(context, run, name, {region: c.layer for region, c in layers.items()}, weights_url, folder)
        try:
            if weights_url:
                (folder / WEIGHTS).replace(into / f"{name}.safetensors")
            folder.rename(plugin)
        except OSError as error:
            raise write_error(plugin, error) from error
    for region, c in layers.items():
        say(f"  {region}: {c.layer}" + (f" (committed on {c.recording} by {c.metric})" if c.recording else ""))
    file = into / f"{name}.safetensors" if weights_url else plugin / WEIGHTS
    say(f"  {plugin}")
    where = f", to be put at {weights_url}" if weights_url else ""
    say(f"  weights: {file}, {file.stat().st_size / 2**20:.1f} MiB{where}")
    if not weights_url and file.stat().st_size > LARGE:
        say("  that is much for a pull request: export with --weights-url and put the file there")
    return plugin


def layers_of(context: Context, run: Run, named: Sequence[str] = ()) -> dict[str, Committed]:
    """{region: committed layer} for all four regions; named: 'REGION=LAYER'. Raises BlendnetError where one lacks."""
    chosen: dict[str, str] = {}
    for text in named:
        region, sign, layer = text.partition("=")
        if not sign or not layer:
            raise BlendnetError(f"--layer {text!r} is not of the form REGION=LAYER, for example V2=layer2.0")
        if region not in REGIONS:
            raise unknown("region", region, REGIONS)
        if layer not in models.layers(run.network):
            raise unknown(f"layer of {run.network}", layer, models.layers(run.network))
        chosen[region] = layer
    if set(chosen) == set(REGIONS):
        return {region: Committed(chosen[region]) for region in REGIONS}
    path = context.tables / "scores.csv"
    if not path.exists():
        raise BlendnetError(f"{run.id} has no committed layers, since {path} is missing; run blendnet score, or name "
                            "all four with --layer REGION=LAYER")  # fmt: skip
    scores = tables.read(path, "scores", context.profile.name)
    weights = networks.weights(context, run)
    scored = {w for w in scores[scores["run"] == run.id]["weights_sha256"] if isinstance(w, str) and w}
    if scored - {weights}:
        raise BlendnetError(
            f"{path} rests on other weights of {run.id} ({min(scored - {weights})[:12]}…) than those that are there "
            f"({weights[:12]}…); score it again: blendnet score --only {run.id}"
        )
    found = committed(scores, run.id, recordings=context.recording, named=chosen)
    missing = [region for region in REGIONS if region not in found]
    if missing:
        raise BlendnetError(
            f"{run.id} has no committed layer for {', '.join(missing)}; score it on a recording of that region "
            f"(blendnet score), or name the layer with --layer {missing[0]}=LAYER"
        )
    return found


def _write(context: Context, run: Run, name: str, layers: dict[str, str], url: str, folder: Path) -> None:
    _bundle(folder)
    network = networks.ready(context, run)
    checkpoint.save_tensors(folder / WEIGHTS, dict(network.state_dict()))
    values = {
        "identifier": name, "run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads or 4,
        "n_classes": networks.n_classes(context, run), "seed": run.seed, "image_size": context.profile.size_of(run),
        "grey": context.profile.colour_of(run) == "grey", "degrees": context.profile.model_degrees,
        "layers": tuple(models.layers(run.network)), "sha256": sha256_file(folder / WEIGHTS), "url": url,
        "mean": MEAN, "std": STD,
    }  # fmt: skip
    code = {key: repr(value) for key, value in values.items()}
    for file, template in (("__init__.py", INIT), ("model.py", MODEL), ("test.py", TEST)):
        write_text(folder / file, string.Template(template).substitute(code, plain=name, plain_run=run.id))
    write_json(folder / "region_layer_map" / f"{name}.json", layers)
    more = ["timm"] if run.network.startswith("timm:") else []
    write_text(folder / "requirements.txt", "\n".join(["torch", "torchvision", "safetensors", "pillow", *more]) + "\n")


def _bundle(folder: Path) -> None:
    """Copy blendnet's files that a network is built from to folder/blendnet, and make their imports relative and the
    names of their operators the plugin's own."""
    waiting = []
    for part in BUNDLED:
        waiting += sorted((PACKAGE / part).glob("*.py")) if (PACKAGE / part).is_dir() else [PACKAGE / part]
    done: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source in done:
            continue
        done.add(source)
        inside = source.relative_to(PACKAGE)
        text = source.read_text(encoding="utf-8")
        waiting += _imported(text, inside)
        dots = "." * len(inside.parts)
        text = re.sub(r"^(\s*)from blendnet\.(\S+) import", rf"\1from {dots}\2 import", text, flags=re.MULTILINE)
        text = re.sub(r"^(\s*)from blendnet import", rf"\1from {dots} import", text, flags=re.MULTILINE)
        # PyTorch has one list of operators a process: a second operator of one name takes the first away from blendnet,
        # or from another plugin, and whoever calls that next reads freed memory.
        text = text.replace('custom_op("blendnet::', f'custom_op("{folder.name}::')
        write_text(folder / "blendnet" / inside, text)
        for parent in inside.parents:
            if not (folder / "blendnet" / parent / "__init__.py").exists() and str(parent) not in BUNDLED:
                write_text(folder / "blendnet" / parent / "__init__.py", "")
    licence = PACKAGE.parent / "LICENSE"
    if licence.exists():
        shutil.copy(licence, folder / "blendnet" / "LICENSE")


def _imported(text: str, inside: Path) -> list[Path]:
    """Files of blendnet that a file imports; raises where it does so in a way that cannot be made relative."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import) and any(a.name.split(".")[0] == "blendnet" for a in node.names):
            raise BlendnetError(f"blendnet/{inside} says 'import blendnet…'; write 'from blendnet… import' instead")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "blendnet":
            module = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            candidates = [module.with_suffix(".py"), *(module / f"{a.name}.py" for a in node.names)]
            found += [path for path in candidates if path.exists()]
    return found
