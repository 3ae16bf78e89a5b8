"""Tables, predictions and score pieces that somebody edited, cut short or replaced."""

import json
from collections.abc import Callable

from analysis import tables
from blendnet import integrity
from blendnet.files import read_json
from tests.bad_inputs import RUN, Bad, Room

C = "tables"


def scores(n: int = 3) -> str:
    """A small right scores.csv: a few networks with invented scores."""
    rows = [
        {"run": f"cornet_z-none-blended-s{i}", "network": "cornet_z", "attention": "none", "heads": 0,
         "training": "blended", "seed": i, "kind": "network", "recording": "made", "region": "V1", "metric": "pls",
         "layer": "V1.output", "score": 0.1 + i / 7, "lo": 0.1, "hi": 0.9, "n_stimuli": 80, "n_report": 40,
         "planted": False}
        for i in range(n)
    ]  # fmt: skip
    return tables.to_csv(tables.from_rows(rows, "scores"), "scores")


def table(what: str, change: Callable[[str], str | bytes], *says: str, name: str = "scores") -> Bad:
    """A table of finished results, changed, and read by the next step."""

    def make(room: Room) -> list[str]:
        path = room.finished() / "tables" / f"{name}.csv"
        text = path.read_text()
        changed = change(text)
        assert changed != text
        room.put(path, changed)
        return room.command("correlate")

    return Bad(C, what, make, (name, *says))


def cell(text: str, row: int, column: str, value: str) -> str:
    """The text with one cell replaced; row 0 is the header."""
    lines = text.splitlines()
    at = lines[0].split(",").index(column)
    cells = lines[row].split(",")
    cells[at] = value
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


def without(text: str, column: str) -> str:
    at = text.splitlines()[0].split(",").index(column)
    rows = (line.split(",") for line in text.splitlines())
    return "\n".join(",".join(r[:at] + r[at + 1 :]) for r in rows) + "\n"


MORE: tuple[Bad, ...] = (
    table("a table without a column", lambda t: without(t, "region"), "no column 'region'", "blendnet score"),
    table("a table with a misspelt column", lambda t: t.replace("ceiling,", "cieling,", 1), "did you mean 'cieling'"),
    table("a table of no bytes", lambda t: "", "cannot be read"),
    table("a table with semicolons", lambda t: t.replace(",", ";"), "semicolons"),
    table("a table of bytes that are no text", lambda t: bytes(range(256)) * 3, "cannot be read"),
    table("a table in UTF-16", lambda t: t.encode("utf-16"), "cannot be read"),
    table("a score that is a word", lambda t: cell(t, 1, "score", "high"), "row 1", "'high' is not a number"),
    table("a score that is NaN", lambda t: cell(t, 1, "score", "nan"), "row 1", "'nan' is not a number"),
    table("a score that is infinite", lambda t: cell(t, 1, "score", "inf"), "row 1", "'inf' is not a number"),
    table("a score of 7", lambda t: cell(t, 1, "score", "7"), "row 1", "not within -1.5 to 1.5"),
    table("a number of stimuli that is no whole number", lambda t: cell(t, 1, "n_stimuli", "4.5"), "'4.5'", "whole"),
    table("a number of stimuli beyond 64 bits", lambda t: cell(t, 1, "n_stimuli", "1e300"), "'1e300'"),
    table("a flag that is 'yes'", lambda t: cell(t, 1, "planted", "yes"), "'yes' is neither True nor False"),
    table("an unknown region", lambda t: cell(t, 1, "region", "V7"), "unknown region 'V7'"),
    table("an unknown metric", lambda t: cell(t, 1, "metric", "rsaa"), "did you mean 'rsa'"),
    table("an empty key", lambda t: cell(t, 1, "run", ""), "run '' may not be empty"),
    table("a row that is there twice", lambda t: t + t.splitlines()[1] + "\n", "two rows"),
    table("a row of three cells", lambda t: t + "a,b,c\n", "3 cells"),
    table("rows with one cell too many, which would shift all others",
          lambda t: "\n".join([t.splitlines()[0], *("x," + line for line in t.splitlines()[1:])]) + "\n", "cells"),
    table("a table cut in the middle of a number", lambda t: t[: t.rindex(",0.")] + ",0.", "line"),
    table("a quote that never ends", lambda t: t.replace("\n", '\n"', 1), "scores.csv"),
    table("a cell of 200 000 letters", lambda t: cell(t, 1, "score", "9" * 200_000), "line 2", "field larger"),
    table("a column that is there twice", lambda t: _twice(t, "score"), "'score'", "twice"),
    table("zero bytes in a table", lambda t: cell(t, 1, "run", "a\0b"), "scores.csv"),
    table("a table of accuracy in place of one of scores", lambda t: "run,rate\na,1\n", "no column"),
    table("more right answers than images", lambda t: cell(t, 1, "rate", "1.2"), "rate", "1.2", name="accuracy"),
    table("a negative count", lambda t: cell(t, 1, "n", "-3"), "'-3'", name="accuracy"),
)  # fmt: skip


def _twice(text: str, column: str) -> str:
    at = text.splitlines()[0].split(",").index(column)
    rows = [line.split(",") for line in text.splitlines()]
    return "\n".join(",".join([*r, r[at]]) for r in rows) + "\n"


def predictions(what: str, change: Callable[[str], str | bytes], *says: str, name: str = "blended") -> Bad:
    """What a network named in every image, changed after it was written, and gathered again by `blendnet predict`."""

    def make(room: Room) -> list[str]:
        path = room.finished() / "predictions" / RUN / f"{name}.csv"
        text = path.read_text()
        changed = change(text)
        assert changed != text
        room.put(path, changed)
        # With a right hash of the file, too: what the reader itself refuses is asked for here.
        key = read_json(path.parent / "key.json")
        room.put_json(path.parent / "key.json", key | {"files": integrity.hashes(path.parent.glob("*.csv"))})
        return room.command("predict", "--only", RUN)

    return Bad(C, f"predictions: {what}", make, (f"{name}.csv", *says))


MORE += (
    predictions("an output that is NaN", lambda t: cell(t, 3, "z_cat", "nan"), "row 3", "z_cat"),
    predictions("an output that is empty", lambda t: cell(t, 3, "z_cat", ""), "row 3", "z_cat"),
    predictions("an output that is a word", lambda t: cell(t, 3, "z_cat", "cat"), "row 3", "'cat'"),
    predictions("a class that is none", lambda t: cell(t, 2, "class_a", "zebra"), "row 2", "'zebra'"),
    predictions("an alpha of 2", lambda t: cell(t, 2, "alpha", "2"), "row 2", "alpha"),
    predictions("no column of a class's outputs", lambda t: without(t, "z_plane"), "z_plane"),
    predictions("rows that are missing", lambda t: "\n".join(t.splitlines()[:-5]) + "\n", "rows"),
    predictions("no bytes", lambda t: ""),
    predictions("a regular test without its classes", lambda t: without(t, "class_name"), "class_name", name="regular"),
    predictions("a regular test of NaN", lambda t: cell(t, 1, "z_boat", "nan"), "row 1", "z_boat", name="regular"),
)


def piece(what: str, change: Callable[[dict], object], *says: str) -> Bad:
    """A stored score, changed, and gathered again by `blendnet score`."""

    def make(room: Room) -> list[str]:
        path = next((room.finished() / "scores" / RUN).glob("*.json"))
        room.put_json(path, change(json.loads(path.read_text())))
        return room.command("score", "--only", "pixels")

    return Bad(C, f"score piece: {what}", make, (".json", *says))


def _score(found: dict, value: object) -> dict:
    found["scores"][0]["score"] = value
    return found


MORE += (
    piece("no JSON", lambda p: "{not json", "not valid JSON"),
    piece("bytes that are no text", lambda p: b"\xff\xfe\0\1", "not valid JSON"),
    piece("a list", lambda p: [1, 2], "delete it"),
    piece("without its key", lambda p: {k: v for k, v in p.items() if k != "key"}, "delete it"),
    piece("without its rows", lambda p: {"key": p["key"]}, "delete it"),
    piece("rows that are numbers", lambda p: p | {"scores": [1, 2]}, "delete it"),
    piece("a score that is NaN", lambda p: _score(p, float("nan")), "NaN"),
    piece("a score that is a word", lambda p: _score(p, "high"), "'high'"),
    piece("a score of 7", lambda p: _score(p, 7), "'7"),
)
