"""The documentation does what it says: every block of code is tried, pages build without a warning and need no network.

A page is followed to the letter in a copy of the repository (docs/_ext/try_page.py): files are written where captions
say, commands run, and what is printed is compared with what the page shows. docs/_ext/blocks.py has the kinds of block.
Long commands are run with their own arguments on tiny profiles (docs/_ext/small.py), in one chain that is trained once;
NOT_RUN names the few that are not.
"""

import compileall
import fnmatch
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blendnet import models
from blendnet.errors import BlendnetError
from pipelines import cli, sheet

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import small  # noqa: E402
from blocks import Block, apply_diff, blocks, commands, missing_lines  # noqa: E402
from house import as_rst, modules  # noqa: E402

PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
NAMES = {str(p.relative_to(DOCS).with_suffix("")): p for p in PAGES}
BLOCKS = {name: blocks(page) for name, page in NAMES.items()}
# Pages on which something is done, and not only shown.
DONE = [n for n, found in BLOCKS.items() if any(b.word != "shown" for b in found)]
SLOW = ("how-to/add-a-network", "how-to/run-on-a-cluster", "how-to/submit-to-brain-score", "tutorial")
LONG = [(n, c) for n, found in BLOCKS.items() for b in found if b.word == "small" for c in commands(b.text)]
# Every command of a page that no test runs from it, and why; all others are run.
NOT_RUN = {
    "git clone ADDRESS-OF-THE-REPOSITORY blendnet": "the address is the reader's",
    "cd blendnet": "the folder of that clone",
    "make setup": "installs 6 GB from a package registry",
    "source .venv/bin/activate": "switches a shell, of which there is none",
    "make all PROFILE=cifar10": "fetches 235 MB; the same target is run with PROFILE=photos",
    "blendnet data fetch --profile photos --data ../mydata": "asks the homes of data sets, see tests/test_fetch.py",
    "blendnet data fetch kriegeskorte2008 --data ../mydata": "the same",
    "blendnet data fetch cifar10 kriegeskorte2008 --data /shared/data": "the same",
    "blendnet data check --profile cifar10 --data /shared/data": "reads what the command before it fetched",
    ".venv/bin/jupyter lab notebooks": "a server without an end; tests/test_notebooks_run.py runs the notebooks",
    "BLENDNET_PROFILE=photos RESULTS=results .venv/bin/jupyter lab notebooks": "the same",
    "blendnet score --profile full --only 'resnet50-none-blended-s0' --recording majajhong2015public --data /shared/data":  # noqa: E501
        "Brain-Score's bucket; tests/test_brainscore_recordings.py has one of its own",
    "blendnet all --profile full --executor slurm --slurm partition=gpu account=lab score.partition=cpu --data /shared/data":  # noqa: E501
        "sbatch on a cluster; tests/test_executor_slurm.py has a small one",
    "make train PROFILE=full EXECUTOR=slurm SLURM='partition=gpu minutes=600'": "the same",
    "torchrun --nproc-per-node 4 -m pipelines.cli train --profile full --only 'resnet50-aacn4-blended-s0' --data ../mydata":  # noqa: E501
        "four processes; tests/test_distributed.py has two",
}  # fmt: skip
COPIED = ("blendnet", "analysis", "pipelines", "tests", "Makefile", "pyproject.toml", "requirements.lock", "LICENSE",
          "README.md", "results/README.md", "results/photos/tables", "results/cifar10/tables")  # fmt: skip
CHAIN = """% test: small
```sh
make all PROFILE=photos DATA=../mydata
blendnet train --profile demo --tracker none
```
"""


@pytest.fixture(scope="module")
def follower():
    """The process that follows pages; it imports the libraries once."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "BLENDNET_"))}
    env |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    # Compiled once, for all copies of the repository and all forks.
    for package in ("blendnet", "analysis", "pipelines", "tests"):
        compileall.compile_dir(ROOT / package, quiet=1)
    for name in ("PROFILE", "RESULTS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        env.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(DOCS / "_ext" / "try_page.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    ) as process:  # fmt: skip
        yield process
        process.stdin.close()


def followed(follower, page: Path, copy: Path, left_out=()) -> str:
    """'ok', or in one JSON string where the page is wrong."""
    follower.stdin.write(f"{page}\t{copy}\t{json.dumps(list(left_out))}\n")
    follower.stdin.flush()
    return follower.stdout.readline().strip()


def copy_of_the_repository(to: Path) -> Path:
    for part in COPIED:
        source, target = ROOT / part, to / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)  # with its bytecode, which goes by the time and size of the source
        else:
            shutil.copy(source, target)
    small.prepare(to)
    return to


def folder_of_long_commands(copy: Path, data: Path, results: Path | None = None) -> Path:
    """The folder beside a copy in which its long commands run: an environment that make takes for set up, made-up data
    at ../mydata and ../shared/data, and `results`."""
    folder = copy.with_name(f"{copy.name}-small")
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / ".ready").touch()
    os.utime(folder / ".venv" / ".ready", (4e9, 4e9))
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (folder / name).symlink_to(copy / name)
    (folder / "data").symlink_to(copy / "data")  # where a page itself puts some
    for place in (copy.parent / "mydata", copy.parent / "shared" / "data"):
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(data)
    if results is not None:
        shutil.copytree(results, folder / "results", copy_function=_linked)
    return folder


def _linked(source: str, target: str) -> None:
    """Weights, the bulk, are never written into: a second name will do."""
    if source.endswith(".safetensors"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def chain(follower, tmp_path_factory):
    """(made-up data, results of the tiny chain that pages go on from)."""
    folder = tmp_path_factory.mktemp("chain")
    small.data(folder / "made")
    copy = copy_of_the_repository(folder / "copy")
    there = folder_of_long_commands(copy, folder / "made")
    (folder / "chain.md").write_text(CHAIN)
    answer = followed(follower, folder / "chain.md", copy)
    assert answer == "ok", json.loads(answer or '"the process that follows pages ended"')
    return folder / "made", there / "results"


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in DONE])
def test_a_page_followed_to_the_letter_comes_out_as_it_says(name, follower, tmp_path, request):
    copy = copy_of_the_repository(tmp_path / "copy")
    left_out = [c for n, c in LONG if n == name and c in NOT_RUN]
    if any(n == name and c not in left_out for n, c in LONG):
        folder = folder_of_long_commands(copy, *request.getfixturevalue("chain"))
        if name == "how-to/bring-your-own-network":
            from tests import test_import_legacy

            test_import_legacy.save(
                folder / "resnet18_aacn.pth", test_import_legacy.original("resnet18", True, size=64)
            )
    answer = followed(follower, NAMES[name], copy, left_out)
    assert answer == "ok", json.loads(answer or '"the process that follows pages ended"')


def test_what_is_not_run_is_in_the_pages_and_nothing_that_blendnet_does_here_is_among_it():
    assert [command for command in NOT_RUN if command not in {c for _, c in LONG}] == []
    assert all(NOT_RUN.values())
    verbs = sorted({shlex.split(c)[1] for c in NOT_RUN if c.startswith("blendnet ")})
    assert verbs == ["all", "data", "score"]
    assert len({c for _, c in LONG} - {*NOT_RUN}) > 25


def test_all_kinds_of_block_are_there_and_each_page_that_adds_something_writes_and_runs_it():
    every = [b for found in BLOCKS.values() for b in found]
    assert {b.kind for b in every} == {"python", "file", "diff", "sh", "text"}
    assert {b.word for b in every} >= {"run", "fails", "small", "output", "shown", "write", "append", "apply"}
    adding = [n for n in BLOCKS if n.startswith("how-to/add-")]
    assert len(adding) == 6
    for name in adding:
        words = [b.word for b in BLOCKS[name]]
        assert "write" in words, name
        assert "run" in words[words.index("write") :], name


PROFILE_NAMES = re.compile(r'^    name="(\w+)",$', re.MULTILINE)


@pytest.mark.parametrize(("name", "command"), [(n, c) for n, c in LONG if c in NOT_RUN])
def test_commands_that_are_not_run_are_known(name, command, capfd):
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program = words[0]
    if program == "torchrun":
        start = words.index("-m")
        assert words[start + 1] == "pipelines.cli"
        program, words = "blendnet", words[start + 1 :]
    if program == "make":
        # -n prints what would be run; make ends with an error for a target that it has not.
        done = subprocess.run([*words, "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert words[1] in (ROOT / "Makefile").read_text()
    elif program == "blendnet":
        parsed = cli.parser().parse_args(words[1:])
        own = PROFILE_NAMES.findall("\n".join(b.text for b in BLOCKS[name] if b.kind == "file"))
        if hasattr(parsed, "profile") and parsed.profile not in own:  # audit and sbom are about the lock
            runs = [run.id for run in sheet.profile(parsed.profile).scored_runs()]
            # A pattern for a network that the page itself adds fits none yet.
            assert fnmatch.filter(runs, parsed.only) or parsed.only.split("-")[0] in str(BLOCKS[name])
            assert getattr(parsed, "run", runs[0]) in runs
    elif program == ".venv/bin/jupyter":
        assert words[1] == "lab"
        assert list((ROOT / words[2]).glob("*.ipynb"))
    else:
        assert words[:2] in (["git", "clone"], ["cd", "blendnet"], ["source", ".venv/bin/activate"]), command


def test_every_verb_is_in_the_documentation():
    text = "\n".join(page.read_text() for page in PAGES)
    verbs = next(a for a in cli.parser()._subparsers._group_actions if a.choices).choices
    assert len(verbs) > 12
    assert [verb for verb in verbs if f"blendnet {verb}" not in text] == []


def test_files_that_pages_name_are_there():
    written = {b.file for found in BLOCKS.values() for b in found}
    name = re.compile(r"`((?:blendnet|analysis|pipelines|tests|benchmarks|notebooks|docs)/[\w/.]+)`")
    found = {(n, f) for n, page in NAMES.items() for f in name.findall(page.read_text())}
    assert len(found) > 20
    absent = {f for _, f in found if f not in written and not f.startswith("tests/test_similarity_gauss")}
    assert sorted(f for f in absent if not (ROOT / f).exists()) == []


# ---------------------------------------------------------------- the newcomer's mistakes, as the page says them

NETWORK = next(b.text for b in BLOCKS["how-to/add-a-network"] if b.kind == "file")
TOLD = dict(re.findall(r"^\| ([^|]+?) \| ``(.+?)`` \|$", NAMES["how-to/add-a-network"].read_text(), re.MULTILINE))
SITE = '"stage3.conv2", "stage4.conv2"'
TWICE_BEGINS = "ModuleDict(\n        OrderedDict(\n            stage1"
TWICE = """

class Twice(nn.Sequential):
    def forward(self, x):
        self.stage3(self.stage2(self.stage1(x[..., ::2, ::2])))
        return super().forward(x)


nn = type("nn", (), {**vars(nn), "ModuleDict": Twice})
"""
MISTAKES = {
    "a site that is not there": ((SITE, '"stage3.conv9",'), {}),
    "a site that is no convolution": ((SITE, '"stage3.relu2",'), {}),
    "a site with too few channels": ((SITE, '"stage1.conv2",'), {}),
    "a site that runs at two map sizes": (("Sequential(\n        OrderedDict(\n            stage1", TWICE_BEGINS), {}),
    "a layer that is not there": (('"features",\n)', '"feature",\n)'), {"attention": "none"}),
    "no `LAYERS` in the file": (("LAYERS = (", "LAYER = ("), {}),
    "an image that is too small": (("", ""), {"image_size": 16}),
    "heads that do not divide 32": (("", ""), {"heads": 5}),
}


def test_the_table_of_mistakes_is_whole():
    assert set(TOLD) == set(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_says_what_the_page_says(mistake, tmp_path, monkeypatch):
    from blendnet import activations

    (old, new), settings = MISTAKES[mistake]
    text = NETWORK.replace(old, new)
    assert text != NETWORK or not old
    (tmp_path / "mynet.py").write_text(text + TWICE)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "blendnet.models.mynet", raising=False)
    importlib.invalidate_caches()
    try:
        with pytest.raises((BlendnetError, AttributeError)) as error:
            model = models.build("mynet", **({"attention": "aacn", "image_size": 48} | settings))
            activations.modules(model, models.layers("mynet"))
    finally:
        sys.modules.pop("blendnet.models.mynet", None)
        vars(models).pop("mynet", None)
    assert missing_lines(TOLD[mistake], str(error.value)) == []


# ---------------------------------------------------------------- the built pages


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages, built with every warning an error."""
    out = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", f"{out}/.doctrees"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(DOCS), str(out)], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.slow
def test_pages_open_from_disk_without_a_network(built):
    files = [p for p in built.rglob("*") if p.suffix in (".html", ".css", ".js")]
    assert len(files) > 40
    loads = re.compile(
        r"""<(?:script|img|iframe|source|video|embed)\b[^>]*\bsrc=["']?(?:https?:)?//"""
        r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//"""
        r"""|\b(?:fetch|importScripts)\(\s*["'](?:https?:)?//""",
        re.IGNORECASE,
    )
    assert {str(p.relative_to(built)): found for p in files if (found := loads.findall(p.read_text()))} == {}
    assert not any(re.search(r"(?i)mathjax(\.js|@|-script)|katex", p.read_text()) for p in built.rglob("*.html"))


@pytest.mark.slow
def test_formulas_are_mathml_and_every_one_of_the_source_is_there(built):
    for name, page in NAMES.items():
        text = re.sub(r"(?s)```.*?```", "", page.read_text())
        shown = len(re.findall(r"(?s)\$\$.+?\$\$", text))
        inline = len(re.findall(r"(?<![\\$`])\$[^$\n](?:[^$]*?[^$\s])?\$", re.sub(r"(?s)\$\$.+?\$\$", "", text)))
        html = (built / f"{name}.html").read_text()
        assert html.count('display="block"') == shown, name
        assert html.count('display="inline"') == inline, name
        assert name.startswith("api/") or "$" not in re.sub(r"(?s)<(script|style|pre|code|math)\b.*?</\1>", "", html), (
            name
        )
    assert (built / "methods/statistics.html").read_text().count("<math") > 20


@pytest.mark.slow
def test_the_reference_has_every_public_module_and_their_functions(built):
    pages = "\n".join(p.read_text() for p in (built / "api").glob("*.html"))
    for package in ("blendnet", "analysis"):
        for folder in sorted(p.parent for p in (ROOT / package).rglob("__init__.py")):
            dotted = ".".join(folder.relative_to(ROOT).parts)
            if "._" in dotted or dotted == "analysis.notebook":  # notebooks are described by themselves
                continue
            for module in modules(dotted):
                assert f'id="module-{module}"' in pages, module
    for name in ("blendnet.models.build", "analysis.similarity.pls.score", "analysis.stats.layers.nested_commitment",
                 "blendnet.run.Run.from_id", "analysis.similarity._splits.shuffle_splits"):  # fmt: skip
        assert f'id="{name}"' in pages, name
    assert "stimuli x features" not in pages
    assert "features (n_stimuli, n_features)" in pages


# ---------------------------------------------------------------- the machinery, on made-up pages


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def test_blocks_of_a_page(tmp_path):
    text = (
        "# A\n\n```python\nx = 1\n```\n\n% test: small\n```sh\nmake demo  # 5 min\n```\n\n"
        "```{code-block} python\n:caption: a/b.py, at its end\n\ny = 2\n```\n"
    )
    assert blocks(page(tmp_path, text)) == [
        Block("python", "run", "x = 1\n", "", 3),
        Block("sh", "small", "make demo  # 5 min\n", "", 8),
        Block("file", "write", "y = 2\n", "a/b.py", 12),
    ]
    assert commands("make demo  # 5 min\n\nblendnet all \\\n  --only 'a#b'\n") == [
        "make demo",
        "blendnet all    --only 'a#b'",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```ruby\nputs 1\n```\n", "no known kind"),
        ("```\nwhat\n```\n", "no known kind"),
        ("```sh\nmake demo\n```\n", "is none of"),
        ("```text\nout\n```\n", "is none of"),
        ("% test: skip\n```python\n1 / 0\n```\n", "is none of"),
        ("% test: run\nsome words\n", "does not stand before a block"),
        ("```python\nx = 1\n", "has no end"),
        ("```{code-block} python\n\nx = 1\n```\n", "names its file"),
        ("````{note}\n```python\n1 / 0\n```\n````\n", "would not be tried"),
    ],
)
def test_no_block_can_be_passed_over(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        blocks(page(tmp_path, text))


def test_output_is_compared_line_by_line():
    printed = "  V1: pls 0.553 (stage1)\nwrote   results\n"
    assert missing_lines("V1: pls … (stage1)\n…\nwrote results\n", printed) == []
    assert missing_lines("V1: pls\n", printed) == ["V1: pls"]
    assert missing_lines("V2: …\n", printed) == ["V2: …"]


def test_a_diff_must_fit_once():
    assert apply_diff("a = 1\nb = 2\n", " a = 1\n-b = 2\n+b = 3\n") == "a = 1\nb = 3\n"
    assert apply_diff("x one, two; y\n", "-… two; y …\n+… two, three; y …\n") == "x one, two, three; y\n"
    for text in ("c = 1\n", "b = 2\nb = 2\n"):
        with pytest.raises(ValueError, match="not once"):
            apply_diff(text, "-b = 2\n+b = 3\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```python\nx = 1 / 0\n```\n", "ZeroDivisionError"),
        ("```python\nprint(1)\n```\n\n% test: output\n```text\n2\n```\n", "not printed: 2"),
        ("% test: run\n```sh\nblendnet models resnet81\n```\n", "unknown network 'resnet81'"),
        ("% test: fails\n```sh\npython -c pass\n```\n", "ended with 0, not 1"),
    ],
)
def test_a_page_that_is_wrong_is_found_out(text, says, follower, tmp_path):
    """Otherwise the tests above could not fail."""
    answer = json.loads(followed(follower, page(tmp_path, text), ROOT))
    assert says in answer
    assert "page.md, line" in answer


def test_docstrings_are_prose_and_stay_what_they_say():
    text = "X'Y|* of `a` and b_:\n\n    |X|^2 = x_i\n\nname: what\n    further\nother (attribute): z\n\n- one\n  2\n- 3"
    assert as_rst(text.split("\n")) == [
        r"X'Y\|\* of ``a`` and b\_:", "", "::", "", "    |X|^2 = x_i", "", "- **name**: what further",
        "- **other (attribute)**: z", "", "- one 2", "- 3", "",
    ]  # fmt: skip


def test_a_formula_that_cannot_be_read_ends_the_build():
    from mathml import mathml
    from sphinx.errors import ExtensionError

    assert mathml("a^2", block=False).startswith("<math")
    for wrong in (r"\left( a", "a_b_c", r"\fooo x"):
        with pytest.raises(ExtensionError, match="cannot be turned into MathML"):
            mathml(wrong, block=True)
