"""The card of a model: what it is, for people."""

from napari_nh2st.model.config import ModelConfig


def model_card(config: ModelConfig) -> str:
    """Markdown that tells what a model predicts, from what, and how far to trust it.

    Parameters
    ----------
    config
        The model's config; everything said comes from it.
    """
    known = sorted((v for v in (config.reliability or {}).values() if v is not None), reverse=True)
    if known:
        trust = (
            f"Pearson correlation on held-out sections: mean {sum(known) / len(known):.2f} over "
            f"{len(known)} genes, from {known[-1]:.2f} to {known[0]:.2f}."
        )
    else:
        trust = "Not measured: no gene's held-out correlation is known."
    genes = ", ".join(config.panel[:12]) + (", …" if len(config.panel) > 12 else "")
    training = "\n".join(
        f"- {name}: {value}" for name, value in config.training.items() if name != "summary"
    )
    headline = "" if config.trained else "**UNTRAINED. Its predictions mean nothing.**\n\n"
    return f"""# {config.name}

{headline}{config.training["summary"]}

| | |
|---|---|
| architecture | {config.architecture}, context `{config.context}` |
| panel | {len(config.panel)} genes: {genes} |
| value | {config.target["description"]} |
| tile | {config.tile_px} px at {config.mpp:g} µm/px ({config.tile_um:g} µm) |
| pitch in training | {config.pitch_um:g} µm, {config.neighborhood["layout"]} |

## Reliability

{trust}

## Training

{training}

Research use only; not for diagnosis.
"""
