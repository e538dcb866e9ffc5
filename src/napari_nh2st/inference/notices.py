"""What does not fit between a slide and a model, as far as numbers tell; it needs no torch."""

from napari_nh2st.model.config import ModelConfig

MUCH_COARSER = 1.5
"""Times the model's µm/px: tiles enlarged by more are worth a notice, the detail is not there."""

_SAME_PITCH = 0.1
"""Share of the model's pitch."""


def scale_notices(mpp: tuple[float, float], pitch_um: float, config: ModelConfig) -> list[str]:
    """Sentences on a µm/px or a pitch that is not what the model was made for.

    Parameters
    ----------
    mpp
        µm/px of the slide, (y, x).
    pitch_um
        Distance between tiles.
    config
        Of the model.

    Returns
    -------
    list of str
        Empty where both fit.
    """
    notices = []
    enlarged = max(mpp) / config.mpp
    if enlarged > MUCH_COARSER:
        notices.append(
            f"The slide ({max(mpp):.3g} µm/px) is {enlarged:.1f} times coarser than what the "
            f"model was made for ({config.mpp:g}): tiles are enlarged, and lack the detail."
        )
    if config.context != "query" and abs(pitch_um / config.pitch_um - 1) > _SAME_PITCH:
        notices.append(
            f"The pitch of {pitch_um:g} µm differs from the {config.pitch_um:g} µm between "
            f"spots in training, so the neighborhoods that this model looks at do too."
        )
    return notices
