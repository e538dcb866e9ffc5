"""Options whose default is what the start model has."""

from napari_nh2st.model.catalogue import CATALOGUE, DEFAULT_ARCHITECTURE
from napari_nh2st.options import Option


def of_start(published: float) -> str:
    """The default in words."""
    return f"the start model's, else {published:g}"


def default_shape(name: str) -> str:
    """The default of a hyperparameter in words, with the architectures that have another one."""
    published = CATALOGUE[DEFAULT_ARCHITECTURE].settings[name]
    others: dict[int | float | str, list[str]] = {}
    for key, entry in CATALOGUE.items():
        if entry.settings.get(name, published) != published:
            others.setdefault(entry.settings[name], []).append(key)
    texts = []
    for value, keys in others.items():
        names = " and ".join(filter(None, (", ".join(keys[:-1]), keys[-1])))
        texts.append(f"{value:g} for {names}")
    return of_start(float(published)) + (f" ({'; '.join(texts)})" if texts else "")


def shape_option(label: str, text: str, name: str, most: int = 65_536) -> Option:
    """Option of a whole number that fixes a shape of the network, a hyperparameter by its name."""
    return Option(label, text, (1, most), default=default_shape(name))
