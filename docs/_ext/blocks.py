"""The code blocks of a page, and what each is for: nothing in the documentation is there without being tried.

A fence says its language; a line '% test: WORD' before it, which readers do not see, says what is done with it:

    python              run, all of a page in one namespace
    code-block python   written to the file that its caption names ('% test: append' adds it at the end)
    diff                applied to the file that its caption names
    sh                  '% test: run' (must succeed), '% test: fails' (must end with status 1), or '% test: small'
                        (long: run with a tiny profile of the same name, see small.py)
    text                '% test: output' (lines that the block before printed; … stands for anything), or
                        '% test: shown' (a picture in letters: a folder, a format)
"""

import re
from dataclasses import dataclass
from pathlib import Path

PLAIN = ("python", "sh", "text")
CODE = "{code-block} python"
# Directives of the pages that hold no code.
DIRECTIVES = ("{toctree}", "{eval-rst}", "{note}", "{warning}", "{figure}", "{image}")
WORDS = {
    "python": ("run",), "file": ("write", "append"), "diff": ("apply",), "sh": ("run", "fails", "small"),
    "text": ("output", "shown"),
}  # fmt: skip
_DEFAULT = {"python": "run", "file": "write", "diff": "apply"}


@dataclass(frozen=True)
class Block:
    """One block of code: kind and word, of WORDS; file, where it is written; line, in the page."""

    kind: str
    word: str
    text: str
    file: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The blocks of a Markdown page in order. Raises ValueError for one of no known kind or without a word."""
    found = []
    marker, fence, head, began = "", "", "", 0
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        opening = re.match(r"^ *(`{3,}|:{3,}|~{3,})(.*)$", line)
        if not fence and opening:
            fence, head, body, began = opening[1], opening[2].strip(), [], number
        elif fence and line.strip() == fence:
            block = _block(page, head, body, marker, began)
            found += [block] if block else []
            fence = marker = ""
        elif fence:
            body.append(line)
        elif line.startswith("% test:"):
            marker = line.removeprefix("% test:").strip()
        elif line.strip() and marker:
            raise ValueError(f"{page}:{number}: '% test: {marker}' does not stand before a block")
    if fence:
        raise ValueError(f"{page}:{began}: the block has no end")
    return found


def _block(page: Path, head: str, body: list[str], marker: str, line: int) -> Block | None:
    where = f"{page}:{line}"
    options = {}
    while body and (option := re.match(r"^:(\w+): (.*)$", body[0])):
        options[option[1]] = option[2]
        body = body[1:]
    language = head.partition(" ")[0]
    if head == CODE or head == "{code-block} diff":
        kind = "file" if head == CODE else "diff"
        if "caption" not in options:
            raise ValueError(f"{where}: a {head} has a :caption: that names its file")
    elif language in DIRECTIVES:
        if any("```" in row for row in body):
            raise ValueError(f"{where}: a block within {language} would not be tried; put it outside")
        return None
    elif head in PLAIN:
        kind = head
    else:
        raise ValueError(f"{where}: a block of {head or 'no language'!r} belongs to no known kind")
    word = marker or _DEFAULT.get(kind, "")
    if word not in WORDS[kind]:
        raise ValueError(f"{where}: '% test: {word}' is none of {WORDS[kind]}, which a block of {kind} may have")
    while body and not body[0].strip():
        body = body[1:]
    # What follows the name is for the reader: 'pipelines/sheet.py, at its end'.
    file = options.get("caption", "").strip("`").split(",")[0].strip("`")
    return Block(kind, word, "\n".join(body) + "\n", file, line)


def commands(text: str) -> list[str]:
    """The commands of a block of sh: comments off, lines that end with a backslash joined."""
    lines = text.replace("\\\n", " ").splitlines()
    bare = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in lines)
    return [line for line in bare if line]


def missing_lines(expected: str, printed: str) -> list[str]:
    """The lines of a block of text that were not printed; … stands for anything, spaces count once."""
    have = [" ".join(line.split()) for line in printed.splitlines()]
    wanted = [" ".join(line.split()) for line in expected.splitlines() if line.strip() not in ("", "…")]

    def there(line: str) -> bool:
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        return any(pattern.fullmatch(row) for row in have)

    return [line for line in wanted if not there(line)]


def apply_diff(text: str, diff: str) -> str:
    """`text` after the changes of a diff without line numbers: runs of ' ' and '-' lines, which must be there exactly
    once, become the runs of ' ' and '+' lines. A line '-… this …' is a part of a line, and so is what comes for it."""
    for hunk in re.split(r"(?m)^@@.*\n", diff):
        rows = [row for row in hunk.splitlines() if row.strip()]
        if not rows:
            continue
        old = "".join(row[1:] + "\n" for row in rows if row[0] in " -")
        new = "".join(row[1:] + "\n" for row in rows if row[0] in " +")
        if "…" in old:  # a part of one line
            old, new = (part.strip().strip("…").strip() for part in (old, new))
        if text.count(old) != 1:
            raise ValueError(f"these lines are there {text.count(old)} times, not once:\n{old}")
        text = text.replace(old, new)
    return text
