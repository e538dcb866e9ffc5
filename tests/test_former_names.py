"""Names under which scripts of earlier versions import what has moved since."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("former", "now", "name"),
    [
        ("_reader", "layers.reader", "get_reader"),
        ("export.outlines", "prediction.outlines", "spot_diameter"),
        ("training", "evaluation", "cross_validate"),
    ],
)
def test_what_has_moved_is_found_under_its_former_name_with_a_warning(
    former: str, now: str, name: str
) -> None:
    there, here = (import_module(f"napari_nh2st.{module}") for module in (former, now))
    with pytest.warns(FutureWarning, match=rf"{former}\.{name} .* use .*{now}\.{name}$") as warned:
        assert getattr(there, name) is getattr(here, name)
    assert warned[0].filename == __file__  # the script that has to change
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = there.nothing_of_ours
