"""Settings of what a prediction keeps beside its values, offered where a model can give it."""

from napari_nh2st.inference.nuclei_limit import why_no_nuclei
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.widgets.settings_form import SettingsForm


def offer_extra_values(form: SettingsForm, config: ModelConfig | None) -> None:
    """Offer values of heads and the density of nuclei where the chosen model can give them.

    Parameters
    ----------
    form
        Has controls for ``head_values`` and ``nuclei``.
    config
        Of the model; None without one, where all can be chosen.
    """
    no_heads = config is not None and config.heads is None
    form.offer(
        "head_values",
        "Not with this model, which has no heads of a cross-validation" if no_heads else "",
    )
    form.offer("nuclei", "" if config is None else why_no_nuclei(config))
