"""The report: one HTML file with the answer in words and numbers, the figures, the tables, and what they rest on.

The words are made from the tables by the rules of analysis/answer.py; the caveats by those below.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from analysis import answer, answer_effects, answer_inside, answer_relation, answer_training, explorer
from analysis import figures as drawn
from analysis import tables as columns
from analysis.figures import _style as s
from analysis.page import MOST, bullets, facts, island, leads, page, paragraphs, picture, plain, table
from blendnet.errors import BlendnetError

_ORDER = ("accuracy_twins", "accuracy_by_training", "accuracy_alpha", "similarity_by_area", "layer_maps",
          "similarity_accuracy", "training_curves", "lr_finder")  # fmt: skip
# Figures stand in the order of the last of these tables that they need, so that a new one finds its place by itself.
_STORY = ("accuracy", "twins", "effects", "psychometric", "psychometric_points", "scores", "layers", "correlation",
          "relation", "mixed", "superposition", "decoding", "attention_maps", "consistency", "power", "training",
          "lr_finder")  # fmt: skip
_BIG = 40  # rows above which a table is folded away


def build(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, bytes],
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    title: str,
) -> str:
    """The page as text; the same input gives the same text.

    tables: those of analysis.tables by name, and any further ones, which are shown as they are; accuracy,
    scores and twins are needed. figures: name -> PNG or SVG bytes. settings: nested dict of the profile; its
    'about' (str), 'caveats' (list of str) and 'planted' ({'source': run id}) are put into words. provenance:
    nested dict (hardware, versions, hashes, seconds). Raises BlendnetError where a needed table is missing or
    wrong.
    """
    name = str(settings.get("name", "")) or None
    s.need(dict(tables), ("accuracy", "scores", "twins"), name)
    t = {k: columns.check(v, k) if k in columns.TABLES else v for k, v in tables.items()}
    planted = s.planted_words(t["scores"])
    sections = [("answer", "The answer in numbers", _answer(t, settings))]
    if planted:
        sections.append(("planted", "Which planted layer was recovered", _recovered(t["scores"], settings)))
    inside = _inside(t)
    if inside:
        sections.append(("inside", "What blending does inside the networks", inside))
    trained = _trained(t, settings)
    if trained:
        sections.append(("trained", "How the networks were trained", trained))
    sections += [
        ("figures", "Figures", _figures(t, figures)),
        *([("explorer", "Explore layers and areas", explorer.section())] if explorer.there(t) else []),
        ("caveats", "What this does not show", bullets(caveats(t, settings))),
        ("tables", "Tables", _tables(t)),
        ("settings", "Settings", facts(settings, "settings")),
        ("rests", "What each number rests on", _rests(t["scores"], provenance)),
    ]
    nav = "".join(f'<li><a href="#{key}">{escape(head)}</a></li>' for key, head, _ in sections)
    words = "every brain score from this shows that the chain works, and nothing about brains."
    warning = f"{planted[:1].upper()}{planted[1:]}: {words}"
    parts = [
        '<a class="skip" href="#answer">To the answer</a>',
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(plain(settings["about"]))}</p>' if settings.get("about") else "",
        f'<p class="banner">{escape(warning)}</p>' if planted else "",
        f'<nav aria-label="Sections"><ul>{nav}</ul></nav></header>\n<main>',
        *(f'<section id="{k}"><h2>{escape(head)}</h2>\n{body}\n</section>' for k, head, body in sections),
        "</main>",
    ]
    data: dict[str, Any] = {"tables": {name: island(t[name]) for name in sorted(t) if _held(t, name)}}
    data |= explorer.words(t) if explorer.there(t) else {}
    return page(title, "\n".join(part for part in parts if part), data)


def _answer(t: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> str:
    accuracy, scores, twins = t["accuracy"], t["scores"], t["twins"]
    effects = t["effects"] if _has(t, "effects") and len(answer_effects.overall(t["effects"])) else None
    told = effects is not None
    first = answer_effects.leads(effects) if effects is not None else []
    first += answer_relation.lead(t["relation"]) if _has(t, "relation") else []
    parts = [leads(first)]
    if effects is not None:
        words = "Attention minus plain over all networks; accuracies as rates, scores raw; effects.csv has the rest"
        summary = answer_effects.effects_summary(effects)
        parts += [paragraphs(answer_effects.few(effects)), "<h3>What attention changes, in detail</h3>",
                  paragraphs(answer_effects.detail(effects)),
                  table(summary, "effects-summary", words, filters=True)]  # fmt: skip
    parts += ["<h3>Does attention help to name two blended objects?</h3>" if not told else
              "<h3>How well both objects are named</h3>",
              paragraphs(answer.accuracy_words(accuracy, twins, told))]  # fmt: skip
    words = "Correct (%), mean over seeds; blends at alpha 0.5; accuracy.csv has the intervals"
    parts.append(table(answer.accuracy_summary(accuracy), "accuracy-summary", words))
    zero = answer_training.zero_shot_words(accuracy)
    if zero:
        parts += ["<h3>Must a network see blends to name both objects?</h3>", paragraphs(zero)]
        words = "Correct (%), paired by network, attention and seed; the difference is to training on blends"
        parts.append(table(answer_training.zero_shot_table(accuracy), "training-differences", words))
    parts += ["<h3>Does attention make the network more like the brain?</h3>" if not told else
              "<h3>How like the brain they are</h3>",
              paragraphs(answer.area_words(scores, twins, told))]  # fmt: skip
    if len(scores):
        parts.append(table(answer.area_summary(scores, twins), "area-summary",
                           "Raw score, mean over networks of the means over seeds"))  # fmt: skip
    if "correlation" in t and not _has(t, "relation"):
        parts += ["<h3>Do networks that see blends better resemble the brain more?</h3>",
                  paragraphs(answer.correlation_words(t["correlation"]))]  # fmt: skip
    if _has(t, "mixed"):
        parts += ["<h3>Similarity and accuracy in one model</h3>", paragraphs(answer_relation.mixed_words(t["mixed"]))]
    if _has(t, "power"):
        parts += ["<h3>What it would take to know</h3>", paragraphs(answer_inside.power_words(t["power"]))]
    return "\n".join(part for part in parts if part)


def _has(t: Mapping[str, pd.DataFrame], name: str) -> bool:
    return len(t.get(name, ())) > 0


def _inside(t: Mapping[str, pd.DataFrame]) -> str:
    """The section on what blending does inside, '' where none of its tables is there."""
    parts = []
    if _has(t, "superposition"):
        words = "Weights of the two images, fit and bias in the first and last layer, means over seeds"
        summary = answer_inside.superposition_summary(t["superposition"])
        parts += ["<h3>A blend as a sum of two responses</h3>",
                  paragraphs(answer_inside.superposition_words(t["superposition"])),
                  table(summary, "superposition-summary", words)]  # fmt: skip
    if _has(t, "decoding"):
        parts += ["<h3>Where both objects can be read</h3>", paragraphs(answer_inside.decoding_words(t["decoding"])),
                  table(answer_inside.decoding_summary(t["decoding"]), "decoding-summary",
                        "Both objects named by a linear readout, means over seeds")]  # fmt: skip
    if _has(t, "psychometric"):
        found = answer_inside.psychometric_words(t["psychometric"])
        parts += ["<h3>How much of an object is enough</h3>", paragraphs(found)] if found else []
    if _has(t, "consistency"):
        parts += ["<h3>Do they err alike?</h3>", paragraphs(answer_inside.consistency_words(t["consistency"]))]
    return "\n".join(part for part in parts if part)


def _trained(t: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> str:
    """The section on training, '' where there is neither a log of it nor a plan nor a learning-rate test."""
    plan, parts = settings.get("plan"), []
    if isinstance(plan, Mapping):
        parts.append(paragraphs(answer_training.plan_words(plan)))
    if len(t.get("training", ())):
        parts.append(table(answer_training.training_summary(t["training"]), "training-summary",
                           "Means over seeds; of the kept epoch, chosen on these very images"))  # fmt: skip
    if len(t.get("lr_finder", ())):
        parts.append(paragraphs(answer_training.lr_words(t["lr_finder"])))
    return "\n".join(parts)


def recovered(scores: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """For the run that a planted recording was made from: region, metric, planted layer, recovered layer, yes or no.

    The source run stands in planted_layer ('<run id>:<layer>') or in settings['planted']['source'].
    """
    planted = settings.get("planted")
    default = str(planted.get("source", "")) if isinstance(planted, Mapping) else ""
    rows = []
    for row in scores[scores["planted"] & (scores["kind"] == "network")].to_dict("records"):
        source, _, layer = row["planted_layer"].rpartition(":")
        if row["run"] == (source or default):
            rows.append({"region": row["region"], "recording": row["recording"], "metric": row["metric"],
                         "source run": row["run"], "planted layer": layer, "recovered layer": row["layer"],
                         "recovered": "yes" if row["layer"] == layer else "no", "score": row["score"],
                         "lo": row["lo"], "hi": row["hi"], "ceiling": row["ceiling"],
                         "stimuli": row["n_report"]})  # fmt: skip
    found = pd.DataFrame(rows)
    order = {region: i for i, region in enumerate(s.REGIONS)}
    return found.sort_values(["region", "metric", "recording"], key=lambda c: c.map(order) if c.name == "region" else c,
                             ignore_index=True) if len(found) else found  # fmt: skip


def _recovered(scores: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    found = recovered(scores, settings)
    if not len(found):
        return paragraphs(["The run that the planted recordings were made from is not among the scored runs."])
    yes = int((found["recovered"] == "yes").sum())
    return paragraphs([
        "The layer was committed on one half of the stimuli. For the run that the responses were made "
        f"from, {found['source run'].iloc[0]}, it is the planted one in {yes} of {len(found)} cases. That "
        "this run scores best is by construction."
    ]) + table(found, "recovered", "Planted and recovered layers of the source run")  # fmt: skip


def _figures(t: Mapping[str, pd.DataFrame], figures: Mapping[str, bytes]) -> str:
    if not figures:
        return '<p class="soft">None were given; run <code>blendnet draw</code>.</p>'
    parts = []
    for name in sorted(figures, key=_place):
        try:
            caption = drawn.load(name).caption(dict(t)) if name in drawn.names() else name
        except BlendnetError as error:  # a picture from before a table was lost; the page says so
            caption = f"{name}: {error}"
        parts.append(picture(name, figures[name], caption))
    return "\n".join(parts)


def _place(name: str) -> tuple[int, int, str]:
    """Where a figure stands in the story; one that the folder of figures does not know comes last."""
    needs = drawn.load(name).NEEDS if name in drawn.names() else ()
    chapter = max((_STORY.index(n) if n in _STORY else len(_STORY) for n in needs), default=len(_STORY))
    return chapter, _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def caveats(t: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> list[str]:
    """What the tables themselves show to be weak, after those that the profile states."""
    given = settings.get("caveats") or ()
    out = [str(given)] if isinstance(given, str) else [str(c) for c in given]
    accuracy, scores = t["accuracy"], t["scores"]
    trained = accuracy[~accuracy["training"].isin(("untrained", ""))]
    seeds = trained.groupby(["network", "attention", "training"])["seed"].nunique()
    if len(seeds):
        out.append(f"{answer.span(seeds)} seed{'' if seeds.max() == 1 else 's'} for each network and "
                   f"{trained['network'].nunique()} architectures: "
                   + ("differences between twins have no interval over seeds." if seeds.max() == 1
                      else "intervals over so few are wide."))  # fmt: skip
    if not (scores["kind"] == "untrained").any():
        out.append("There is no untrained baseline for the brain scores, and untrained networks score well above 0: "
                   "no statement about an area can be made from these.")  # fmt: skip
    else:
        raw = scores[(scores["kind"] == "untrained") & scores["network"].isin(set(trained["network"]))]["score"]
        full = scores[scores["kind"] == "network"]["score"]
        out.append(
            f"Untrained networks score {raw.mean():.3f} on average, trained ones {full.mean():.3f} (n = {len(raw)} and "
            f"{len(full)} raw scores): only the part above the untrained ones is due to training."
        )
    if not (scores["kind"] == "pixels").any():
        out.append("There is no pixel baseline for the brain scores.")
    bare = sorted(set(scores[scores["ceiling"].isna()]["recording"]))
    if bare:
        out.append(
            f"No noise ceiling is known for {', '.join(bare)}: those scores are raw and cannot be compared "
            "between areas."
        )
    out.append("Wilson intervals are over test images of one trained network. Blends share photographs, which makes "
               "them a little too narrow, and they say nothing about another seed.")  # fmt: skip
    return out


def _held(t: Mapping[str, pd.DataFrame], name: str) -> bool:
    """Whether a table lies in the page as JSON: large ones do, and those that the explorer draws from."""
    return len(t[name]) > _BIG or (name in ("layers", "scores") and explorer.there(t))


def _tables(t: Mapping[str, pd.DataFrame]) -> str:
    parts = [paragraphs(["What the columns mean is told in results/README.md."])]
    for name in [*(n for n in columns.TABLES if n in t), *sorted(set(t) - set(columns.TABLES))]:
        df = t[name]
        some = f", of which the first {MOST} are in this page" if len(df) > MOST and _held(t, name) else ""
        words = f"{name}.csv, {len(df)} row{'' if len(df) == 1 else 's'}{some}"
        shown = table(df, name, filters=True, held=_held(t, name))
        fold = "" if len(df) > _BIG else " open"
        parts.append(f"<details{fold}><summary>{escape(words)}</summary>{shown}</details>")
    return "\n".join(parts)


def _rests(scores: pd.DataFrame, provenance: Mapping[str, Any]) -> str:
    hashes = [
        "run",
        "recording",
        "region",
        "metric",
        "weights_sha256",
        "activations_key",
        "recording_sha256",
        "code_version",
    ]
    kept = scores[scores["kind"] != "shuffled"][hashes].drop_duplicates()
    return (
        paragraphs(["Every score carries the hashes of the weights, activations and recording that it rests on; the "
                    "machine, versions and times stand below."])
        + facts(provenance, "provenance")
        + f"<details><summary>Hashes of {len(kept)} scores</summary>{table(kept, 'hashes', filters=True)}</details>"
    )  # fmt: skip
