"""Seven networks with five attention kinds each, from the invented tables of two: for how a full page looks."""

import pandas as pd

NETWORKS = ("resnet18", "resnet50", "cornet_z", "inception_v3", "cornet_s", "efficientnet_b0", "vit_small")
KINDS = ("aacn", "aacn-legacy", "se", "cbam")
_SOURCE = "resnet18"


def many(made: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Tables with rows of NETWORKS x (plain, KINDS), copied from those of ResNet18; what has no network stays."""
    return {name: _many(table) for name, table in made.items()}


def _many(table: pd.DataFrame) -> pd.DataFrame:
    if "network_a" in table:
        return _pairs(table)
    kind = "attention_kind" if "attention_kind" in table else "attention"
    if "network" not in table or kind not in table:
        return table
    own, rest = table[table["network"] == _SOURCE], table[table["network"] == ""]
    parts = []
    for k in KINDS:
        parts += [_named(own[own[kind] == "aacn"], n, k) for n in NETWORKS]
        parts.append(_named(rest[rest[kind] == "aacn"], "", k) if len(rest) else rest)
    parts += [_named(own[own[kind] == "none"], n, "none") for n in NETWORKS]
    parts += [table[table["network"].isin(("pixels", "mobilenet_v2"))]]
    return pd.concat(parts, ignore_index=True)


def _named(rows: pd.DataFrame, network: str, kind: str) -> pd.DataFrame:
    changed = {"network": network, "attention_kind" if "attention_kind" in rows else "attention": kind}
    rows = rows.assign(**changed)
    if "run" in rows:
        rest = rows["run"].str.split("-").str[2:].str.join("-")
        rows = rows.assign(run=f"{network}-{kind}-" + rest)
    return rows


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for a in NETWORKS:
        for b in NETWORKS:
            same = table[(table["relation"] == "network") == (a != b)]
            same = same[same["network_a"] == _SOURCE] if a == b else same
            runs = {f"run_{s}": f"{n}-" + same[f"run_{s}"].str.split("-").str[1:].str.join("-")
                    for s, n in (("a", a), ("b", b))}  # fmt: skip
            if a <= b:
                parts.append(same.assign(network_a=a, network_b=b, **runs))
    return pd.concat(parts, ignore_index=True).drop_duplicates(["test", "outcome", "run_a", "run_b"])
