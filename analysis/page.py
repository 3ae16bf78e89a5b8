"""The HTML of the report: escaping, tables that sort and filter, pictures inside the file. One file, no network.

The style and the scripts are the files of analysis/page_assets, put into the page as they are. A large table lies in
the page once, as JSON column by column, and is shown by the script; its first rows also as HTML, for paper and for
browsers without scripts.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

SCRIPTS = ("report.js", "explorer_profile.js", "explorer_map.js", "explorer.js")
PRINTED = 25  # rows of a table in the island that also stand as HTML; as many go on paper (report.js)
MOST = 10_000  # rows of one table that the page holds; the whole is in its CSV file
_HASHES = ("sha256", "activations_key")


def asset(name: str) -> str:
    """The text of a file of analysis/page_assets."""
    return files("analysis").joinpath("page_assets", name).read_text(encoding="utf-8")


def page(title: str, body: str, data: Mapping[str, Any] | None = None) -> str:
    """The whole document. The policy in its head lets it load nothing and run no script but its own.

    data: what the scripts read, as one JSON island; `island` makes the tables of it.
    """
    script = "\n".join(asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    held = f'<script type="application/json" id="data">{as_json(data)}</script>\n' if data else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{asset('report.css')}</style>\n</head>\n<body>\n{body}\n"
        f"{held}<script>{script}</script>\n</body>\n</html>\n"
    )


def as_json(value: Any) -> str:
    """JSON that no text in it can end the script element of: <, > and & are written as \\u escapes."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def island(df: pd.DataFrame) -> dict[str, Any]:
    """A table, column by column: numbers as they are (null where empty), text as numbers of its levels."""
    held = df.head(MOST)
    columns: list[dict[str, Any]] = []
    for i, name in enumerate(held.columns):
        values = held.iloc[:, i]
        if is_number(values):
            columns.append({"name": str(name), "number": True, "values": [_exact(v) for v in values]})
            continue
        text = ["" if _empty(v) else str(v) for v in values]
        levels = sorted(set(text))
        code = {level: k for k, level in enumerate(levels)}
        short = any(word in str(name) for word in _HASHES)
        columns.append({"name": str(name), "short": short, "levels": levels, "codes": [code[v] for v in text]})
    return {"rows": len(held), "columns": columns}


def _exact(value: Any) -> float | int | None:
    if _empty(value):
        return None
    number = float(f"{float(value):.10g}")
    if not np.isfinite(number):
        raise ValueError(f"a table for the page holds {number}; only finite numbers and empty cells can be shown")
    return int(number) if number.is_integer() else number


def is_number(values: pd.Series) -> bool:
    """Whether a column is shown and sorted as numbers: not text, and not flags."""
    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)


def picture(name: str, content: bytes, caption: str) -> str:
    """A figure inside the page: PNG or SVG bytes as a data address (an SVG as an image runs no script)."""
    kind = "image/png" if content.startswith(b"\x89PNG") else "image/svg+xml"
    data = base64.b64encode(content).decode()
    words = escape(caption or name)
    return (
        f'<figure id="figure-{escape(name)}"><img alt="{words}" src="data:{kind};base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def table(df: pd.DataFrame, name: str, caption: str = "", filters: bool = False, held: bool = False) -> str:
    """A table that sorts by any column, with `filters` also filters and gives its rows as CSV.

    held: the rows lie in the island of the page under this name; here stand the first of them only.
    """
    numeric = [is_number(df.iloc[:, i]) for i in range(df.shape[1])]
    heads = "".join(
        f'<th scope="col"{" class=n" if n else ""}>{escape(str(c))}</th>' for c, n in zip(df.columns, numeric)
    )
    rows = []
    for i, values in enumerate((df.head(PRINTED) if held else df).itertuples(index=False, name=None)):
        cells = "".join(_cell(v, c, n) for v, c, n in zip(values, df.columns, numeric))
        rows.append(f"<tr{' class=more' if i >= PRINTED else ''}>{cells}</tr>")
    key = escape(name)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    kind = (' data-filters="1"' if filters else "") + (f' data-json="{key}"' if held else "")
    wide = "sorts" + (" many" if df.shape[1] > 9 else "") + (" most" if df.shape[1] > 18 else "")  # for paper
    more = len(df) > PRINTED and held
    note = f"<p>The first {PRINTED} of {len(df)} rows; the others need JavaScript, or {key}.csv.</p>" if more else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption or name)}">'
        f'<table class="{wide}" id="table-{key}" data-name="{key}"{kind}>{title}'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + f"\n</tbody></table></div>{f'<noscript>{note}</noscript>' if note else ''}"
    )  # fmt: skip


def _empty(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and bool(np.isnan(value)))


def _cell(value: Any, column: Any, numeric: bool) -> str:
    if _empty(value):
        return '<td class="n"></td>' if numeric else "<td></td>"
    if numeric:
        return f'<td class="n" data-v="{value:.10g}">{escape(shown(value))}</td>'
    text = str(value)
    if len(text) > 12 and any(word in str(column) for word in _HASHES):
        return f'<td title="{escape(text)}">{escape(text[:12])}…</td>'
    return f"<td{' class=long' if len(text) > 40 else ''}>{escape(text)}</td>"


def shown(value: Any) -> str:
    """A number as the tables show it: four digits, no digit before the point lost; report.js has the same rule."""
    if float(value).is_integer():
        text = str(int(value))
    elif abs(value) >= 1000:
        text = f"{value:.0f}"
    elif abs(value) < 1e-4:
        digits, power = f"{value:.1e}".split("e")
        text = f"{digits}e{int(power)}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", "−")


def facts(values: Mapping[str, Any], name: str) -> str:
    """A nested dict as a table of name and value, keys joined by dots, in sorted order."""
    rows = list(_flat(values))
    if not values:
        return '<p class="soft">None were given.</p>'
    return table(pd.DataFrame(rows, columns=["name", "value"]), name, filters=len(rows) > 12)


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key in sorted(value, key=str):
            yield from _flat(value[key], f"{name}.{key}" if name else str(key))
    else:
        yield name, plain(value)


def plain(value: Any) -> str:
    """A setting in words: lists with commas, sets sorted, so that equal settings read equally."""
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(map(plain, value))) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {plain(v)}" for k, v in sorted(value.items(), key=str)) or "none"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def paragraphs(lines: Sequence[str]) -> str:
    """Each line escaped, as a paragraph."""
    return "\n".join(f"<p>{escape(line)}</p>" for line in lines)


def leads(lines: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """(verdict, sentences, items) each: the verdict set off, the items as a list below it; all escaped."""
    parts = []
    for head, rest, items in lines:
        below = "\n" + bullets(items) if items else ""
        parts.append(f'<div class="lead"><p><strong>{escape(head)}</strong> {escape(rest)}</p>{below}</div>')
    return "\n".join(parts)


def bullets(lines: Sequence[str]) -> str:
    """Each line escaped, as an item of a list."""
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"
