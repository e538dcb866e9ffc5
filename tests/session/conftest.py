"""Fixtures shared by the tests of the session."""

import pytest
from napari.components import ViewerModel

from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(request: pytest.FixtureRequest) -> ViewerModel:
    """A viewer without a window, as it is and as napari hands it to a dock."""
    made: ViewerModel = request.param()
    return made
