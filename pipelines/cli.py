"""The command-line program `blendnet`: one verb a step of the chain."""

import argparse
import os
import sys
from pathlib import Path

from blendnet import __version__
from blendnet.errors import BlendnetError

VERBS = {
    "train": "train the twins of the profile (blended images -> checkpoints)",
    "predict": "name the objects in the test images (checkpoints -> predictions, accuracy.csv)",
    "extract": "read the layers out on the recordings' stimuli (checkpoints -> activations)",
    "score": "compare layers with the brain (activations -> scores.csv, layers.csv)",
    "correlate": "brain similarity against accuracy, attention against plain (-> correlation.csv, effects.csv, ...)",
    "dissect": "what blending does inside: layers, decoding, attention maps (checkpoints -> superposition.csv, ...)",
    "draw": "draw the figures from the tables alone (-> figures/)",
    "report": "write the one-file HTML report (-> report.html)",
    "verify": "recompute a random sample of stored scores from the weights on and compare",
    "all": "train, predict, dissect, extract, score, correlate, draw, report (the last three always on this host: they "
    "read tables, and would wait longer for a job than they work)",
    "doctor": "check every stored product by its hash; --repair removes the damaged ones, to be made anew",
    "status": "what is done, running, queued and failed, and why; the time left (loads nothing, asks SLURM)",
    "power": "how many networks and seeds an effect needs, by simulation (-> power.csv)",
    "find-lr": "learning-rate range test of the selected runs (-> lr_finder.csv); trains nothing",
    "plan": "measure the selected runs and plan epochs for a --budget, which train then keeps to",
}
# Verbs of the chain that are divided into runs (brainscore-layers is, too), and those that are one unit with what they
# alone are told: pipelines/executor.py. The others are about the machine they are started on.
DIVIDED = ("train", "predict", "dissect", "extract", "score", "all")
WHOLE: dict[str, tuple[str, ...]] = {
    "correlate": (), "draw": ("check",), "report": (), "power": ("quantity", "effect", "n_simulations", "seed"),
    "verify": ("n", "seed"), "reproduce": ("run", "keep"), "find-lr": (), "plan": ("budget",),
}  # fmt: skip
CHAIN = ("train", "predict", "dissect", "extract", "score", "correlate", "draw", "report")


def parser() -> argparse.ArgumentParser:
    """The arguments. Flags choose which part and where, never the science: that is in pipelines/sheet.py."""
    main = argparse.ArgumentParser(
        prog="blendnet",
        description="Does attention make a CNN see superimposed objects better, and more like the brain?",
        epilog="The science (networks, recipes, recordings, metrics) is in pipelines/sheet.py; flags say which, where. "
        "Verbs that have --executor are done by processes (local) or by jobs of a cluster (slurm) as well.",
    )
    main.add_argument("--version", action="version", version=f"blendnet {__version__}")
    verbs = main.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--profile", default=os.environ.get("PROFILE") or "demo",
                        help="demo, cifar10, photos, blendeduibk or paper (default: demo)")  # fmt: skip
    common.add_argument("--only", default="*", metavar="PATTERN", help="runs whose id fits, e.g. 'resnet18-*'")
    common.add_argument("--force", action="store_true", help="compute again what is stored and up to date")
    common.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    common.add_argument("--results", type=Path, default=Path("results"), metavar="DIR",
                        help="results go to DIR/PROFILE (default: results)")  # fmt: skip
    common.add_argument("--data", type=Path, default=None, metavar="DIR",
                        help="photographs and recordings (default: $BLENDNET_DATA or ./data)")  # fmt: skip
    common.add_argument("--recording", action="append", default=[], metavar="NAME",
                        help="only this recording (may be given several times)")  # fmt: skip
    data = verbs.add_parser("data", parents=[common], help="look at, check or fetch photographs and recordings",
                            description="check: counts, hashes, broken files. show: contact sheet of blends. "
                            "fetch: get a dataset from its public home.")  # fmt: skip
    data.add_argument("action", choices=("check", "show", "fetch"))
    data.add_argument("names", nargs="*", help="fetch: what to get (none: all that the profile needs)")
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, parents=[common], help=text, description=text)
        if verb == "doctor":
            sub.add_argument("--repair", action="store_true", help="remove what is damaged or left over")
        if verb == "verify":
            sub.add_argument("--n", type=int, default=5, help="how many stored scores (default: 5)")
            sub.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
        if verb == "status":
            sub.add_argument("--json", action="store_true", help="for machines")
        if verb in DIVIDED:
            _add_divided(sub)
        if verb in WHOLE:
            _add_whole(sub)
        if verb in ("train", "all"):
            sub.add_argument("--tracker", default="tensorboard",
                             help="tensorboard, wandb, mlflow or none (default: tensorboard)")  # fmt: skip
        if verb in ("train", "all", "plan"):
            sub.add_argument("--budget", metavar="TIME", required=verb == "plan",
                             help="plan the epochs so that training takes no longer, e.g. 30m or 1h30m")  # fmt: skip
        if verb == "draw":
            sub.add_argument(
                "--check", action="store_true", help="draw nothing; fail where a figure is stale or missing"
            )
        if verb == "power":
            sub.add_argument("--quantity", help="e.g. accuracy:blended_both (default: all of effects.csv)")
            sub.add_argument(
                "--effect", type=float, help="the true difference (default: the margin, and what was found)"
            )
            sub.add_argument(
                "--n-simulations", type=int, default=2000, help="simulated studies a design (default: 2000)"
            )
            sub.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    zoo = verbs.add_parser("models", help="the zoo: parameters, operations, sites and layers of networks")
    zoo.add_argument("networks", nargs="*", help="e.g. resnet18 torchvision:convnext_tiny timm:... (default: all)")
    zoo.add_argument("--attention", action="append", help="only this kind (may be given several times)")
    zoo.add_argument("--heads", type=int, default=4, help="attention heads (default: 4)")
    zoo.add_argument("--image-size", type=int, help="px (default: each network's own)")
    legacy = verbs.add_parser("import-legacy", parents=[common], help="take over a checkpoint of the original code",
                              description="Reads the file with weights_only, finds network, attention and heads from "
                              "its tensors, and writes a checkpoint that predict, extract and score take.")  # fmt: skip
    legacy.add_argument("checkpoint", type=Path)
    legacy.add_argument("--training", required=True, choices=("blended", "regular"), help="the file does not say")
    legacy.add_argument("--seed", type=int, default=0, help="the number that the run is to have (default: 0)")
    legacy.add_argument("--network", help="what it should be; another one is an error")
    legacy.add_argument("--attention", help="what it should be: none or aacn-legacy")
    legacy.add_argument("--heads", type=int, help="what it should be")
    legacy.add_argument("--image-size", type=int, help="px, for networks without attention")
    legacy.add_argument("--normalisation", default="imagenet",
                        help="imagenet or dataset: how images were normalised; the file does not say")  # fmt: skip
    brain_score = verbs.add_parser(
        "export-brainscore", parents=[common], help="a plugin folder to submit to Brain-Score"
    )
    brain_score.add_argument("run", help="id of a scored run, e.g. resnet18-aacn4-blended-s0")
    brain_score.add_argument("folder", type=Path, help="gets brainscore_vision/models/NAME; may be a checkout of it")
    brain_score.add_argument("--layer", action="append", default=[], metavar="REGION=LAYER",
                             help="instead of the committed layer, e.g. V2=layer2.0 (several times)")  # fmt: skip
    brain_score.add_argument("--weights-url", default="", help="where the weights will lie (default: a file beside)")
    text = "the layers that Brain-Score itself would commit on its public benchmarks (all units, PCA; -> scores.csv)"
    _add_divided(verbs.add_parser("brainscore-layers", parents=[common], help=text, description=text))
    again = verbs.add_parser("reproduce", parents=[common], help="rebuild one run's numbers from nothing and compare",
                             description="Trains by the recorded recipe in a temporary folder, and all that follows.",
                             )  # fmt: skip
    again.add_argument("run", help="id of a run with stored tables, e.g. resnet18-aacn4-blended-s0")
    again.add_argument("--keep", action="store_true", help="keep the temporary results folder")
    _add_whole(again)
    check = verbs.add_parser("audit", help="packages of requirements.lock with known vulnerabilities")
    check.add_argument("--offline-ok", action="store_true", help="status 0 where no service could be asked")
    check.add_argument("--service", default="pypi", help="pypi or osv (default: pypi)")
    check.add_argument("--osv-url", default="", help="another address of the service osv")
    bill = verbs.add_parser("sbom", help="software bill of materials of requirements.lock (CycloneDX JSON)")
    bill.add_argument("file", type=Path)
    bill.add_argument(
        "--time", action="store_true", help="with the present time (else the same lock gives the same bytes)"
    )
    return main


def _add_divided(sub: argparse.ArgumentParser) -> None:
    """The options of a verb that is divided into runs."""
    sub.add_argument("--executor", choices=("here", "local", "slurm"), default="here",
                     help="here: in this process, local: a process a run, slurm: a job a run (default: here)",
                     )  # fmt: skip
    sub.add_argument("--jobs", type=int, metavar="N",
                     help="local: processes at once (default: one a GPU, else one a core)")  # fmt: skip
    _add_slurm(sub, "what jobs ask for, e.g. partition=gpu minutes=600 score.mem_gb=64 train.nodes=2")


def _add_whole(sub: argparse.ArgumentParser) -> None:
    """The options of a verb that is one unit."""
    sub.add_argument("--executor", choices=("here", "local", "slurm"), default="here",
                     help="here: in this process, local: in a process of its own, slurm: as one job, which goes on "
                     "without this command (default: here)")  # fmt: skip
    _add_slurm(sub, "what the job asks for, e.g. partition=cpu minutes=600")


def _add_slurm(sub: argparse.ArgumentParser, text: str) -> None:
    sub.add_argument("--slurm", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                     help=f"slurm: {text} (keys and defaults: pipelines/resources.py)")  # fmt: skip


def own_arguments(arguments: argparse.Namespace) -> list[str]:
    """What a verb that is one unit is told and no other verb is, as its command line has it."""
    found = []
    for name in WHOLE[arguments.verb]:
        value = getattr(arguments, name)
        if name == "run":
            found.append(value)
        elif value is True:
            found.append(f"--{name}")
        elif value is not None and value is not False:
            found.append(f"--{name.replace('_', '-')}={value}")
    return found


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 something a user can put right, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return dispatch(arguments)
    except BlendnetError as error:
        print(f"blendnet: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("blendnet: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except MemoryError:
        print("blendnet: error: out of memory; lower batch_size or width in pipelines/sheet.py", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"blendnet: error: {where}{error.strerror or error}; check the path and its permissions", file=sys.stderr)
        return 1
    except RuntimeError as error:
        line = (str(error).splitlines() or [""])[0]
        if "can't allocate memory" in line or "can't start new thread" in line:  # torch on a CPU, Python
            print("blendnet: error: out of memory; lower batch_size or width in pipelines/sheet.py; the same command "
                  "goes on where it was", file=sys.stderr)  # fmt: skip
            return 1
        # By name: drawing must not import torch to know its exceptions. Before torch 2.8 a lost GPU has none.
        if type(error).__name__ not in ("OutOfMemoryError", "AcceleratorError") and "CUDA error" not in line:
            raise
        print(
            f"blendnet: error: the GPU gave up ({line}); lower batch_size in pipelines/sheet.py or use --device cpu; "
            "the same command goes on where it was",
            file=sys.stderr,
        )
        return 1


def dispatch(arguments: argparse.Namespace) -> int:
    """Import the step that was asked for, and nothing else: drawing must not need torch."""
    from pipelines.sheet import profile

    if arguments.verb == "models":
        from pipelines.zoo import zoo

        zoo(arguments.networks, arguments.attention, heads=arguments.heads, image_size=arguments.image_size)
        return 0
    if arguments.verb == "audit":
        from pipelines.audit import audit

        return audit(service=arguments.service, osv_url=arguments.osv_url, offline_ok=arguments.offline_ok)
    if arguments.verb == "sbom":
        from pipelines.sbom import sbom

        sbom(arguments.file, time=arguments.time)
        return 0
    chosen = profile(arguments.profile)
    _is_no_file(arguments.results / chosen.name, arguments.results)
    size = os.environ.get("WORLD_SIZE") or "1"  # torchrun's
    if not size.isdecimal():
        raise BlendnetError(f"WORLD_SIZE {size!r} is no number of processes; unset it, or start with torchrun")
    processes = int(size)
    if processes > 1 and arguments.verb != "train":
        raise BlendnetError(
            f"{processes} processes were started, but only training is shared between processes; start torchrun with "
            f"the verb train, and {arguments.verb} in one process"
        )
    if os.environ.get("RANK", "0") == "0" and not getattr(arguments, "json", False):
        print(f"blendnet {arguments.verb}, profile {chosen.name} ({chosen.minutes})", flush=True)
    if arguments.verb == "import-legacy":
        from pipelines.import_legacy import import_legacy

        import_legacy(
            arguments.checkpoint, results=arguments.results / chosen.name, training=arguments.training,
            seed=arguments.seed, network=arguments.network, attention=arguments.attention, heads=arguments.heads,
            image_size=arguments.image_size, normalisation=arguments.normalisation, classes=chosen.classes,
            force=arguments.force,
        )  # fmt: skip
        return 0
    if arguments.verb == "status":
        from pipelines.status import status

        status(chosen, arguments.results / chosen.name, as_json=arguments.json)
        return 0
    _check_options(arguments)
    if arguments.verb in WHOLE and arguments.executor != "here":
        from pipelines.executor import run

        return run(_context(chosen, arguments), arguments.verb, executor=arguments.executor, slurm=arguments.slurm,
                   own=own_arguments(arguments))  # fmt: skip
    if arguments.verb not in ("plan", "find-lr") and not getattr(arguments, "budget", None):
        from pipelines.plan import planned

        chosen = planned(chosen, arguments.results / chosen.name)
    if arguments.verb in ("draw", "report"):
        from pipelines import draw, report

        if getattr(arguments, "check", False):
            stale = draw.check(chosen, arguments.results / chosen.name)
            if stale:
                raise BlendnetError(f"stale figures: {'; '.join(stale)}; run `blendnet draw --profile {chosen.name}`")
            return 0
        step = draw.draw if arguments.verb == "draw" else report.report
        step(chosen, arguments.results / chosen.name)
        return 0
    if arguments.verb == "power":
        from pipelines.power import power

        power(
            chosen, arguments.results / chosen.name, quantity=arguments.quantity, effect=arguments.effect,
            n_simulations=arguments.n_simulations, seed=arguments.seed,
        )  # fmt: skip
        return 0
    if arguments.verb == "doctor":
        from pipelines.doctor import doctor

        return doctor(chosen, arguments.results / chosen.name, repair=arguments.repair)
    if arguments.verb == "correlate":
        from pipelines.correlate import correlate

        correlate(chosen, arguments.results / chosen.name)
        return 0

    context = _context(chosen, arguments)
    if arguments.verb == "export-brainscore":
        from pipelines.export_brainscore import export

        export(context, arguments.run, arguments.folder, named=arguments.layer, weights_url=arguments.weights_url)
        return 0
    if arguments.verb == "brainscore-layers" and arguments.executor == "here":
        from pipelines.brainscore_layers import brainscore_layers

        brainscore_layers(context)
        return 0
    if arguments.verb == "reproduce":
        from pipelines.reproduce import reproduce

        return reproduce(context, arguments.run, keep=arguments.keep)
    if arguments.verb == "all":
        check_inputs(context)
    executor = getattr(arguments, "executor", "here")
    if getattr(arguments, "budget", None):
        from pipelines.plan import plan

        if executor == "slurm":
            raise BlendnetError(
                "--budget measures on this machine, and the jobs run on others; plan on one of those first (blendnet "
                f"plan --profile {chosen.name} --budget {arguments.budget} --executor slurm), every later training "
                "keeps to it"
            )

        context.profile = plan(context, arguments.budget)
    if arguments.verb == "plan":
        return 0
    if executor != "here":
        from pipelines.executor import run

        return run(context, arguments.verb, executor=executor, jobs=arguments.jobs, slurm=arguments.slurm)
    if arguments.verb == "find-lr":
        from pipelines.find_lr import find_lr

        find_lr(context)
    elif arguments.verb == "data":
        from pipelines.data import data

        data(context, arguments.action, arguments.names)
    elif arguments.verb == "verify":
        from pipelines.verify import verify

        return verify(context, n=arguments.n, seed=arguments.seed)
    else:
        for verb in CHAIN if arguments.verb == "all" else (arguments.verb,):
            run_step(context, verb)
    return 0


def _is_no_file(folder: Path, results: Path) -> None:
    """Raise where a part of the path of the results is a file: nothing is stored there, and nothing can be."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if there is not None and not there.is_dir():
        raise BlendnetError(
            f"--results {results}: {there} is a file, not a folder; give one, which is made where there is none"
        )


def _check_options(arguments: argparse.Namespace) -> None:
    """Options of an executor without it are a mistake."""
    if getattr(arguments, "executor", "here") == "here":
        if getattr(arguments, "slurm", None):
            raise BlendnetError(f"--slurm {arguments.slurm[0]}: goes with --executor slurm only")
        if getattr(arguments, "jobs", None) is not None:
            raise BlendnetError(f"--jobs {arguments.jobs}: goes with --executor local only")


def _context(chosen, arguments: argparse.Namespace):
    from pipelines.context import Context, default_data

    return Context(
        profile=chosen,
        results=arguments.results / chosen.name,
        data=arguments.data or default_data(),
        only=arguments.only,
        force=arguments.force,
        device=arguments.device,
        recording=tuple(arguments.recording),
        whole_chain=arguments.verb == "all",
        tracker=getattr(arguments, "tracker", "none"),
    )


def check_inputs(context) -> None:
    """Before hours of training: are the photographs and recordings of the whole chain there?"""
    from pipelines import photographs, recordings
    from pipelines.data import bring

    bring(context)
    photographs.load(context)
    for name in recordings.names(context):
        if name != "planted":
            recordings.load_one(name, context.data)


def run_step(context, verb: str) -> None:
    """One step of the chain."""
    import importlib

    module = importlib.import_module(f"pipelines.{verb}")
    if verb in ("correlate", "draw", "report"):
        getattr(module, verb)(context.profile, context.results)
    else:
        getattr(module, verb)(context)


if __name__ == "__main__":
    sys.exit(main())
