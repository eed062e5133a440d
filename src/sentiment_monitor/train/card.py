"""The model card, written from the facts of the manifest so that the two cannot disagree."""

from __future__ import annotations

from typing import Any

_WEAKNESSES = """\
- English only, unless the languages above say otherwise. Other languages give arbitrary answers.
- Public sets call reports *about* a crisis neutral unless a price moves; only text labelled otherwise corrects that.
- It knows no companies and no history: whether a lender exposed to a failed fund is in trouble must stand in the text.
- Numbers are compared poorly: "from 3.1 to 2.4" is learned from examples, not calculated.
- One label for a text about several companies: the one the text is mainly about, as far as it can tell.
- Irony, and jargon of markets outside the training data, are read literally.
- It is no investment advice, and no single score should move money.
"""


def render(facts: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    base = facts["base"]
    parts = [
        f"# {facts['name']}: sentiment and topic of financial news\n",
        f"Fine-tuned from {base['name']} ({base['licence']}; SHA-256 of its weights `{base['sha256']}`). "
        f"One linear head with {len(facts['labels'])} grouped labels, three sentiments and "
        f"{len(facts['labels']) - 3} topics, each group its own softmax. Weights in half precision. The label is the "
        "investor's view of the company or market that a headline is mainly about. "
        f"Languages: {', '.join(facts['languages'])}.\n",
        "## Figures\n",
        "On text that training never saw, 95 % bootstrap intervals in brackets, the word lexicon beside it.\n",
        _figures(facts["metrics"]),
        _calibration(facts),
        _decision(facts),
        "## Data\n",
        "| set | rows read | trained on | development | held out | licence |\n|---|---|---|---|---|---|\n"
        + _data(facts),
        "Texts are cleaned, equal ones merged (links, punctuation and case aside), contradictory labels dropped, and "
        "whatever recurs in a held-out set is not trained on. Fingerprint of the training rows: "
        f"`{facts['data']['fingerprint']}`.\n",
        "## How it was made\n",
        f"```\n{facts['command']}\n```\n",
        f"Seed {facts['seed']}; temperatures "
        + ", ".join(f"{group} {value:.3f}" for group, value in facts["temperatures"].items())
        + "; settings "
        + ", ".join(f"{name} {facts['settings'][name]}" for name in _SETTINGS)
        + ". `manifest.json` holds all of them.\n",
        "## Known weaknesses\n",
        _WEAKNESSES + "".join(f"- {failure}\n" for failure in facts["settings"].get("known_failures", ())),
        *(("## Notice of the base encoder\n", notice) if (notice := facts["settings"].get("base_notice")) else ()),
    ]
    return "\n".join(parts)


_FIGURES = ("accuracy", "macro_f1", "ece")
_SETTINGS = (
    "epochs",
    "members",
    "batch",
    "learning_rate",
    "warmup",
    "weight_decay",
    "smoothing",
    "topic_weight",
    "max_tokens",
)


def _figures(sets: dict[str, Any]) -> str:
    lines = ["| held-out set | group | n | accuracy | macro-F1 | ECE | lexicon accuracy | lexicon macro-F1 |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    detail = []
    for name, pair in sets.items():
        for group in ("sentiment", "topic"):
            figures, plain = pair["classifier"][group], pair["lexicon"][group]
            if not figures:
                continue
            ranges = pair["classifier"]["intervals"][group]
            cells = [f"{figures[k]:.3f} [{ranges[k][0]:.3f}, {ranges[k][1]:.3f}]" for k in _FIGURES]
            beside = [f"{plain[k]:.3f}" if plain else "—" for k in ("accuracy", "macro_f1")]
            lines.append("| " + " | ".join([name, group, str(figures["n"]), *cells, *beside]) + " |")
            if group == "sentiment":
                for label, row in figures["per_class"].items():
                    values = [f"{row[k]:.3f}" for k in ("precision", "recall", "f1")]
                    detail.append("| " + " | ".join([name, label, *values, str(row["n"])]) + " |")
    header = "| held-out set | label | precision | recall | F1 | n |\n|---|---|---|---|---|---|\n"
    return "\n".join(lines) + "\n\n" + header + "\n".join(detail) + "\n"


def _calibration(facts: dict[str, Any]) -> str:
    name = facts["settings"].get("calibrate_on")
    return f"The temperature of the sentiments is in part fitted on `{name}`: its ECE there is kind.\n" if name else ""


def _decision(facts: dict[str, Any]) -> str:
    headline = _thresholds(facts, "thresholds", "thresholds_from")
    with_body = _thresholds(facts, "thresholds_with_body", "thresholds_with_body_from")
    text = f"A label wins from this probability on: {headline}" if headline else "The likeliest label wins."
    if with_body:
        text += f"\n\nOf a headline read with its body: {with_body}"
    return text + "\n"


def _thresholds(facts: dict[str, Any], fact: str, key: str) -> str:
    if not facts[fact]:
        return ""
    text = ", ".join(f"{label} {value:.2f}" for label, value in facts[fact].items()) + "."
    for half in facts[f"{fact}_across_halves"]:
        text += (
            f" Chosen on one half of `{facts['settings'][key]}`, measured on the other (n {half['n']}): "
            f"recall of negatives {half['recall']:.3f} at precision {half['precision']:.3f}, "
            f"macro-F1 {half['macro_f1']:.3f}."
        )
    return text


def _data(facts: dict[str, Any]) -> str:
    rows = []
    for name, counts in facts["data"]["report"].items():
        cells = [str(counts.get(step, 0)) for step in ("read", "train", "development", "held_out")]
        rows.append("| " + " | ".join([name, *cells, facts["licences"].get(name, "only measured on")]) + " |")
    return "\n".join(rows) + "\n"
