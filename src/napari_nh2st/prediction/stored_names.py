"""Names that files can hold: in HDF5 and zarr a ``/`` separates folders."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.schema import named_layers


def stored_name(name: str) -> str:
    """The name that something has in a file: ``B_Plasma`` for ``B/Plasma``."""
    return name.replace("/", "_")


def with_stored_names(data: AnnData) -> AnnData:
    """An AnnData whose columns and keys have names that every file can hold.

    Parameters
    ----------
    data
        Stays as it is; it is returned itself where no name has a ``/``. Values are shared.

    Warns
    -----
    UserWarning
        Something is renamed, with the first of the names.

    Raises
    ------
    InputError
        Two names would become one.
    """
    names = _Names()
    obs, var, uns = (names.of(getattr(data, key), key) for key in ("obs", "var", "uns"))
    arrays = {
        key: names.of(dict(getattr(data, key)), key) for key in ("obsm", "varm", "obsp", "varp")
    }
    layers = names.of(named_layers(data), "layers")
    raw = None if data.raw is None else data.raw.to_adata()
    if raw is not None:
        raw.var = names.of(raw.var, "raw.var")
    if not names.renamed:
        return data
    first, more = names.renamed[0], len(names.renamed) - 1
    warnings.warn(
        f"{first}{f' (and {more} more)' if more else ''}: no file holds a /.",
        UserWarning,
        stacklevel=2,
    )
    renamed = AnnData(X=data.X, obs=obs, var=var, uns=uns, layers=layers, **arrays)
    renamed.raw = raw
    return renamed


class _Names:
    """Renames what has a ``/`` in its name, and knows what that was."""

    def __init__(self) -> None:
        self.renamed: list[str] = []

    def of(self, value: Any, where: str) -> Any:
        """A table or dictionary with all in it; whatever else is given stays as it is."""
        if isinstance(value, pd.DataFrame):
            index = value.index.name
            every = [*value.columns, *([] if index is None or index in value else [index])]
            names = self._stored(every, where)
            if names.keys() == set(names.values()):
                return value
            return value.rename(columns=names).rename_axis(index=names.get(index, index))
        if isinstance(value, Mapping):
            names = self._stored(value, where)
            return {names[key]: self.of(each, f"{where}[{key!r}]") for key, each in value.items()}
        return value

    def _stored(self, names: Iterable[Any], where: str) -> dict[Any, Any]:
        stored = {name: stored_name(name) if isinstance(name, str) else name for name in names}
        for name, new in stored.items():
            if new == name:
                continue
            if list(stored.values()).count(new) > 1:
                raise InputError(
                    f"{where} has {name!r} and another name that is {new!r} in a file, which holds "
                    "no /: rename one of them"
                )
            self.renamed.append(f"{where}[{name!r}] is written as {new!r}")
        return stored
