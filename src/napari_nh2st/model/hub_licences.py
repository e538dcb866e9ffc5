"""Licences of models, by the identifiers of the Hugging Face Hub."""

import re
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names

OTHER = "other"
"""A licence that the list does not have: it needs a name and the place of its text."""

HUB_LICENCES = (
    *("afl-3.0", "agpl-3.0", "apache-2.0", "apple-amlr", "apple-ascl", "artistic-2.0"),
    *("bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m"),
    *("bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda"),
    *("cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0"),
    *("cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0"),
    *("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
    *("creativeml-openrail-m", "deepfloyd-if-license", "ecl-2.0", "epl-1.0", "epl-2.0"),
    *("etalab-2.0", "eupl-1.1", "eupl-1.2", "gemma", "gfdl", "gpl", "gpl-2.0", "gpl-3.0"),
    *("h-research", "intel-research", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr"),
    *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "lppl-1.3c", "mit"),
    *("mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openmdw-1.0", "openrail"),
    *("openrail++", "osl-3.0", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib"),
    OTHER,
)
"""https://huggingface.co/docs/hub/repositories-licenses"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{1,60}")


def licence_metadata(
    licence: str, name: str | None = None, link: str | None = None
) -> dict[str, Any]:
    """What the card of a model says of its licence.

    Parameters
    ----------
    licence
        Identifier of the Hub; capitals do not matter, so that those of SPDX do as well.
    name, link
        Of a licence that is :data:`OTHER`: a short name, and the URL of its text.

    Raises
    ------
    InputError
        The Hub does not know it, or name and link are missing or belong to no such licence.
    """
    known = licence.strip().lower()
    if known not in HUB_LICENCES:
        near = nearest_names(known, HUB_LICENCES, n=1)
        raise InputError(
            f"The Hub knows no licence {licence!r}{f'; did you mean {near[0]}?' if near else '.'} "
            f"Give an identifier of its list, such as cc-by-4.0 or mit, or {OTHER} with "
            "--license-name and --license-link"
        )
    if known != OTHER:
        if name is not None or link is not None:
            raise InputError(
                f"--license-name and --license-link belong to --license {OTHER}; {known} has both"
            )
        return {"license": known}
    if name is None or link is None:
        raise InputError(
            f"--license {OTHER} says nothing by itself: give --license-name, such as my-lab-1.0, "
            "and --license-link, the URL of its text"
        )
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--license-name is {name!r}; it must be letters, digits, dots and hyphens, such as "
            "my-lab-1.0"
        )
    if not re.fullmatch(r"https?://[^\s/]+\S*", link):
        raise InputError(f"--license-link is {link!r}; it must be a URL, https://…")
    return {"license": OTHER, "license_name": name, "license_link": link}
