"""Names under which scripts of earlier versions import what has moved since."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("former", "now", "name"),
    [
        ("_reader", "layers.reader", "get_reader"),
        ("export.outlines", "prediction.outlines", "spot_diameter"),
    ],
)
def test_what_has_moved_is_found_under_its_former_name(former: str, now: str, name: str) -> None:
    there, here = (import_module(f"napari_nh2st.{module}") for module in (former, now))
    assert getattr(there, name) is getattr(here, name)
