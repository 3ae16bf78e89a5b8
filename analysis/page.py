"""The HTML of the report: escaping, tables that sort, pictures inside the file. One file, no network, no library."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

_HASHES = ("sha256", "activations_key")

STYLE = """
:root{color-scheme:light
dark;--ink:#1b1b1b;--soft:#595959;--back:#fdfdfc;--card:#fff;--rule:#d8d6d2;--mark:#0060a8; --band:#f3f2ef}
@media
(prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#b3b3b3;--back:#17181a;--card:#1f2123;--rule:#43464a;
--mark:#7cc0f5;--band:#26282b}} *{box-sizing:border-box}html{scroll-padding-top:1rem} body{margin:0
auto;padding:1.5rem 1.25rem 4rem;max-width:70rem;background:var(--back);color:var(--ink); font:1rem/1.55
system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif} h1{font-size:1.7rem;line-height:1.2;margin:.5rem
0}h2{font-size:1.25rem;margin:2.6rem 0 .6rem;padding-top:.6rem; border-top:1px solid
var(--rule)}h3{font-size:1rem;margin:1.4rem 0 .4rem}
p,ul{max-width:46rem}a{color:var(--mark)}.soft,figcaption,caption{color:var(--soft)} .banner{border-left:4px
solid #d55e00;padding:.4rem .9rem;background:var(--band);max-width:46rem} nav
ul{padding:0;list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}
.skip{position:absolute;left:-99rem}.skip:focus{position:static} figure{margin:1.6rem 0}figure
img{display:block;max-width:100%;background:#fff;padding:.6rem;border:1px solid var(--rule);
border-radius:4px}figcaption{max-width:46rem;margin-top:.5rem;font-size:.9rem}
.wide{overflow-x:auto;border:1px solid var(--rule);border-radius:4px;background:var(--card);max-height:32rem}
table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;padding:.4rem .6rem} th,td{padding:.25rem
.6rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--rule)} td.n,th.n{text-align:right}thead
th{position:sticky;top:0;background:var(--band);z-index:1} th
button{all:unset;cursor:pointer;font-weight:600}th
button::after{content:"\\2195";opacity:.45;padding-left:.3em} th[aria-sort=ascending]
button::after{content:"\\2191";opacity:1} th[aria-sort=descending] button::after{content:"\\2193";opacity:1}
:focus-visible,th button:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
td.long{white-space:normal;min-width:16rem;overflow-wrap:anywhere} details{margin:.8rem
0}summary{cursor:pointer;font-weight:600} label{display:block;margin:.6rem
0;font-size:.9rem}input{font:inherit;padding:.2rem .5rem;width:18rem;max-width:100%;
color:inherit;background:var(--card);border:1px solid var(--soft);border-radius:3px} @media
print{body{max-width:none;padding:0;font-size:9.5pt}nav,label,.skip,details:not([open]){display:none}
.wide{overflow:visible;max-height:none;border:0}th,td{white-space:normal;padding:.1rem .3rem} th
button::after{content:""}thead th{position:static}figure,tr{break-inside:avoid}h2{break-after:avoid}}
"""

SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = Array.from(body.rows, (row) => [value(row), row]);
      const numeric = head.classList.contains("n");
      rows.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", {numeric: true});
        return up ? order : -order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
for (const input of document.querySelectorAll("input[data-for]")) {
  const rows = document.getElementById(input.dataset.for).tBodies[0].rows;
  const count = input.parentElement.querySelector("output");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  });
}
"""


def page(title: str, body: str) -> str:
    """The whole document. The policy in its head lets it load nothing and run no script but its own."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def picture(name: str, content: bytes, caption: str) -> str:
    """A figure inside the page: PNG or SVG bytes as a data address (an SVG as an image runs no script)."""
    kind = "image/png" if content.startswith(b"\x89PNG") else "image/svg+xml"
    data = base64.b64encode(content).decode()
    words = escape(caption or name)
    return (
        f'<figure id="figure-{escape(name)}"><img alt="{words}" src="data:{kind};base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def table(df: pd.DataFrame, name: str, caption: str = "", filters: bool = False) -> str:
    """A table that sorts by any column, and with `filters` has a box that keeps the rows with all words in it."""
    numeric = {c: pd.api.types.is_numeric_dtype(df[c]) and df[c].dtype != bool for c in df.columns}
    heads = "".join(
        f'<th scope="col"{" class=n" if numeric[c] else ""}><button type="button">{escape(str(c))}</button></th>'
        for c in df.columns
    )
    rows = []
    for values in df.itertuples(index=False, name=None):
        rows.append("<tr>" + "".join(_cell(v, c, numeric[c]) for v, c in zip(values, df.columns)) + "</tr>")
    key = f"table-{escape(name)}"
    box = (
        f'<label>Rows that contain <input type="search" data-for="{key}"> <output>{len(df)} rows</output></label>'
        if filters
        else ""
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'{box}<div class="wide" tabindex="0" role="region" aria-label="{escape(caption or name)}">'
        f'<table class="sorts" id="{key}">{title}<thead><tr>{heads}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _cell(value: Any, column: Any, numeric: bool) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return '<td class="n"></td>' if numeric else "<td></td>"
    if numeric:
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        return f'<td class="n" data-v="{value:.10g}">{escape(shown.replace("-", "−"))}</td>'
    text = str(value)
    if len(text) > 12 and any(word in str(column) for word in _HASHES):
        return f'<td title="{escape(text)}">{escape(text[:12])}…</td>'
    return f"<td{' class=long' if len(text) > 40 else ''}>{escape(text)}</td>"


def facts(values: Mapping[str, Any], name: str) -> str:
    """A nested dict as a table of name and value, keys joined by dots, in sorted order."""
    rows = list(_flat(values))
    if not values:
        return '<p class="soft">None were given.</p>'
    return table(pd.DataFrame(rows, columns=["name", "value"]), name, filters=len(rows) > 25)


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


def bullets(lines: Sequence[str]) -> str:
    """Each line escaped, as an item of a list."""
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"
