"""The card of a model: what it is, for people."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from napari_nh2st.html_card import html_card
from napari_nh2st.model.catalogue import entry_of
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.licences import storage_words
from napari_nh2st.model.held_out import held_out_pcc

_WELL = 0.2
"""Correlation of a gene that counts as predicted, in the count over folds."""

_HUB_TAGS = (
    "histology",
    "digital-pathology",
    "h-and-e",
    "spatial-transcriptomics",
    "gene-expression",
)

_SHOWN_ELSEWHERE = ("summary", "intended_use", "limits")
_TOO_LONG = (
    *("target_mean", "settings", "stain", "normalized_stain"),
    *("sections_sha256", "encoder_weights_sha256"),
)
"""What the config holds for programs: a value for every gene, every setting, covariances,
digests."""


def model_card(config: ModelConfig) -> str:
    """Markdown on what a model predicts, from what, and how far to trust it.

    What comes from the config is text: it makes no headings, links, pictures or HTML.

    Parameters
    ----------
    config
        The model's config; everything said comes from it. Of ``training``, ``intended_use`` and
        ``limits`` (lists of sentences) and ``held_out`` (see
        :func:`~napari_nh2st.evaluation.reliability.with_reliability`) get sections of their own.
    """
    genes = _text(", ".join(config.panel[:12])) + (", …" if len(config.panel) > 12 else "")
    headline = "" if config.trained else "**UNTRAINED. Its predictions mean nothing.**\n\n"
    training = config.training
    parts = [
        f"""# {_text(config.name)}

{headline}{_text(training["summary"])}

| | |
|---|---|
| architecture | {_architecture(config)} |
| panel | {len(config.panel)} genes: {genes} |
| value | {_text(config.target["description"])} |
| tile | {config.tile_px} px at {config.mpp:g} µm/px ({config.tile_um:g} µm) |
| pitch in training | {config.pitch_um:g} µm, {config.neighborhood["layout"]} |
{_stain(config)}""",
        _encoder(config),
        _sentences("Intended use", training.get("intended_use")),
        _sentences("Limits", training.get("limits")),
        f"## Reliability\n\n{_text(reliability_in_words(config))}\n",
        _held_out(training.get("held_out"), config),
        _intervals(config),
        f"## Training\n\n{_facts(training)}\n",
        "Research use only; not for diagnosis.\n",
    ]
    return "\n".join(part for part in parts if part)


def hub_card(config: ModelConfig, licence: Mapping[str, str], repository: str) -> str:
    """The card as the Hugging Face Hub has it: with metadata before it, and how to use the model.

    Parameters
    ----------
    config
        As in :func:`model_card`.
    licence
        See :func:`~napari_nh2st.model.hub_licences.licence_metadata`.
    repository
        ``owner/name``.
    """
    head = {
        **licence,
        "library_name": "napari-nh2st",
        "pipeline_tag": "other",
        "tags": ["nh2st", "napari", config.architecture, *_HUB_TAGS],
    }
    use = (
        "## Use\n\nWith [napari-nh2st](https://pypi.org/project/napari-nh2st/):\n\n"
        f"```bash\nnh2st model pull hf:{repository}\n```\n\n"
        "This prints the name with its commit, which `nh2st predict --model`, napari and "
        "`napari_nh2st.load_model` accept, also offline.\n"
    )
    metadata = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{metadata}---\n\n{model_card(config)}\n{use}"


def _architecture(config: ModelConfig) -> str:
    """The architecture, and the context where it has several."""
    context = f", context {_code(config.context)}" if config.context != config.architecture else ""
    return f"{_text(config.architecture)}{context}"


def _stain(config: ModelConfig) -> str:
    """A row where slides are not seen as they are."""
    if config.stain_reference is None:
        return ""
    return (
        "| stain | each slide's two stains are brought to one reference before the model sees "
        "it |\n"
    )


def _encoder(config: ModelConfig) -> str:
    """What encodes the tiles, its licence, and where its weights are."""
    said = config.encoder
    if said is None:
        return ""
    if config.takes_features:
        return _features(config, said)
    mpp = f"{said['mpp']:g}" if said["mpp"] else "not stated"
    rows = {
        "key": _code(said["key"]),
        "licence": _text(said["licence"] or "not known"),
        "sha256": _code(said["sha256"]),
        "features of a tile": f"{said['n_features']}",
        "µm/px of its training": mpp,
    }
    if parse_key(str(said["key"])).takes_imagenet_colors:
        rows["normalization"] = "as for ImageNet, since its file does not say"
    if (adapter := said.get("adapter")) is not None:
        rows["adapters"] = f"rank {adapter['rank']}, on {len(adapter['layers'])} layers"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    where = storage_words(said["licence"], said["weights"] == "model")
    return f"## Image encoder\n\n| | |\n|---|---|\n{table}\n\n{_text(where)}\n"


def _features(config: ModelConfig, said: Mapping[str, Any]) -> str:
    """What features a model takes that were computed before."""
    name = said["recipe"].get("name") or "an encoder that their files do not name"
    return (
        f"## Features\n\nThe model does not read pixels: it takes {said['n_features']} features "
        f"of each tile, which were computed by {_text(name)}, with another tool, from tiles of "
        f"{config.tile_px} px at {config.mpp:.4g} µm/px. A prediction needs a file of these "
        "features for its slide.\n"
    )


def model_summary(config: ModelConfig) -> str:
    """One line on a trained model: its panel, resolution, context, and mean held-out PCC."""
    known = [v for v in (config.reliability or {}).values() if v is not None]
    trust = f", mean held-out PCC {sum(known) / len(known):.2f}" if known else ""
    # Symbols of mouse genes begin with a capital and go on in small letters, human ones do not.
    mouse = sum(gene[:1].isupper() and gene[1:].islower() for gene in config.panel)
    written = "; its gene names are written as those of the mouse"
    return (
        f"{len(config.panel)} genes, {config.mpp:g} µm/px, {config.context_in_words}{trust}"
        f"{written if 2 * mouse > len(config.panel) else ''}"
    )


def model_html(config: ModelConfig, source: str) -> str:
    """The card in short, as notebooks show it.

    Parameters
    ----------
    config
        The model's config; what comes from it makes no markup.
    source
        Where the model came from.
    """
    said = config.encoder
    genes = ", ".join(config.panel[:12]) + (", …" if len(config.panel) > 12 else "")
    encoder = "NH2ST's ResNet-18, in the model"
    if said is not None:
        encoder = f"{said['key']}, licence: {said['licence'] or 'not known'}"
    rows = (
        ("from", source),
        ("genes", f"{len(config.panel)}: {genes}"),
        ("value", config.target["description"]),
        ("architecture", f"{config.architecture}, predicts from: {config.reach}"),
        ("image encoder", encoder),
        ("tile", f"{config.tile_px} px at {config.mpp:g} µm/px ({config.tile_um:g} µm)"),
        ("pitch", f"{config.pitch_um:g} µm, {config.neighborhood['layout']}"),
        ("held-out score", reliability_in_words(config)),
        ("training", config.training["summary"]),
    )
    caution = "" if config.trained else "UNTRAINED. Its predictions mean nothing."
    return html_card(f"Model {config.name}", rows, caution=caution)


def reliability_in_words(config: ModelConfig) -> str:
    """How well the genes of sections that were left out are predicted; with text of the config."""
    known = sorted((v for v in (config.reliability or {}).values() if v is not None), reverse=True)
    if not known:
        return "Not measured: no gene's held-out correlation is known."
    of = f" ({config.reliability_of})" if config.reliability_of else ""
    return (
        f"Pearson correlation on held-out sections{of}: mean {sum(known) / len(known):.2f} over "
        f"{len(known)} genes, from {known[-1]:.2f} to {known[0]:.2f}.{_stable(config)}"
    )


def _stable(config: ModelConfig) -> str:
    """How many genes are predicted well in every fold; empty where folds are not known."""
    by_fold = held_out_pcc(config)
    if by_fold is None:
        return ""
    count = int((by_fold >= _WELL).all(1).sum())
    folds = by_fold.shape[1]
    return f" {count} of {len(config.panel)} genes have {_WELL:g} or more in each of {folds} folds."


def _intervals(config: ModelConfig) -> str:
    """What the intervals are, and how many of the values they held on what was left out."""
    widths = sorted(v for v in (config.interval_90 or {}).values() if v is not None)
    if not widths:
        return ""
    held_out = config.training.get("held_out")
    coverage = held_out.get("coverage") if isinstance(held_out, Mapping) else None
    x = (
        f"x is {widths[len(widths) // 2]:.2f} for the median gene, from {widths[0]:.2f} to "
        f"{widths[-1]:.2f}"
    )
    if config.usual_spread is None:
        words = (
            "A measured value lies within ± x of the predicted one, for at least 90 % of the "
            f"values of a new section that is no harder than these. {x}: the widest of the "
            "left-out parts, each by conformal prediction. Each part in the table was tested with "
            "the intervals of the others."
        )
    else:
        words = (
            "A measured value lies within ± x of the predicted one, for about 90 % of the values "
            f"of a new section like these. {x}, where the heads differ as usual; it is larger "
            "where they differ more, and smaller where they differ less. It was calibrated by "
            "conformal prediction on left-out parts, with heads that had not seen them; for the "
            "table, this was done without the part that it was tested on."
        )
    lines = ["## Intervals", "", words]
    if isinstance(coverage, Mapping) and all(isinstance(c, Mapping) for c in coverage.values()):
        lines += [
            "",
            "| tested on | within ± x | middle 80 % of the genes |",
            "|---|---|---|",
        ]
        lines += [
            f"| {_text(name)} | {_percent(each.get('mean'))} | "
            f"{_percent(each.get('low'))} to {_percent(each.get('high'))} |"
            for name, each in coverage.items()
        ]
    return "\n".join(lines) + "\n"


def _sentences(title: str, sentences: Any) -> str:
    if isinstance(sentences, str):
        sentences = [sentences]
    if not sentences:
        return ""
    return f"## {title}\n\n" + "\n".join(f"- {_text(sentence)}" for sentence in sentences) + "\n"


def _facts(training: Mapping[str, Any]) -> str:
    held_out = "held_out" if _contexts(training.get("held_out")) else ""
    facts = [
        f"- {_text(name)}: {_text(_in_words(value))}"
        for name, value in training.items()
        if name not in (*_SHOWN_ELSEWHERE, *_TOO_LONG, held_out) and value not in (None, "", [])
    ]
    there = [f"`{name}`" for name in _TOO_LONG if name in training]
    if there:
        facts.append(f"- in `config.json`: {', '.join(there)}")
    return "\n".join(facts)


def _in_words(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case Mapping():
            return ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items())
        case list() | tuple():
            return ", ".join(map(_in_words, value))
    return str(value)


def _held_out(held_out: Any, config: ModelConfig) -> str:
    """Tables of what the model, or its like, made of sections that it had not seen."""
    contexts = _contexts(held_out)
    if not contexts:
        return ""
    rows = []
    for name, scores in contexts.items():
        every = scores["all"]
        low, high = every.get("mean_pcc_low"), every.get("mean_pcc_high")
        interval = "" if None in (low, high) else f" ({low:.3f} to {high:.3f})"
        cells = (
            _code(name),
            _number(every.get("mean_pcc"), 3) + interval,
            _number(every.get("top50_pcc"), 3),
            _number(every.get("mse"), 4),
            _number(every.get("mse_baseline"), 4),
        )
        rows.append(f"| {' | '.join(cells)} |")
    sections = dict.fromkeys(s for scores in contexts.values() for s in scores["sections"])
    by_section = []
    for section in sections:
        each = (scores["sections"].get(section, {}) for scores in contexts.values())
        row = (_text(section), *(_number(one.get("mean_pcc"), 3) for one in each))
        by_section.append(f"| {' | '.join(row)} |")
    kind = "context" if entry_of(config.architecture).reach is None else "architecture"
    whole = "donors" if held_out.get("left_out") == "donor" else "sections"
    lines = (
        f"Whole {whole} were left out of training, and predicted by models that had not seen "
        "them. The interval is 95 % over spots; another donor can lie outside it. The top 50 "
        "genes are picked on the same sections, so their score is optimistic. The mean is that "
        "of each gene in training.",
        "",
        f"| {kind} | mean PCC, all genes | top-50 genes | MSE | MSE of the mean |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"| left out: mean PCC | {' | '.join(map(_code, contexts))} |",
        "|---" * (1 + len(contexts)) + "|",
        *by_section,
    )
    return "\n".join(lines) + "\n"


def _contexts(held_out: Any) -> Mapping[str, Any]:
    """The scores by context; empty where there are none, or of a form that we do not know."""
    contexts = held_out.get("contexts") if isinstance(held_out, Mapping) else None
    known = isinstance(contexts, Mapping) and all(
        isinstance(scores, Mapping)
        and isinstance(scores.get("all"), Mapping)
        and isinstance(scores.get("sections"), Mapping)
        for scores in contexts.values()
    )
    return contexts if known and contexts else {}


def _text(text: Any) -> str:
    """A text on one line, with a backslash where Markdown would take it for more than text."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*\[\]<>|]|^[#+=~-])", r"\\\1", line)


def _code(name: Any) -> str:
    return f"`{re.sub(r'[`|]', '', ' '.join(str(name).split()))}`"


def _percent(share: Any) -> str:
    return f"{share:.0%}" if isinstance(share, int | float) else "–"


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "–"
