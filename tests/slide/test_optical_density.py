"""Optical density: arrays and tensors alike, and back."""

import numpy as np
import pytest

from napari_nh2st.slide.optical_density import optical_density, transmitted_light

LIGHT = np.arange(256, dtype=np.uint8)


def test_density_is_the_natural_logarithm_of_what_is_taken_away() -> None:
    density = optical_density(LIGHT)
    assert density.dtype == np.float64
    np.testing.assert_allclose(256 * np.exp(-density) - 1, LIGHT, atol=1e-9)
    assert density[255] == 0
    assert density[127] == pytest.approx(np.log(2))


def test_tensors_have_the_density_of_arrays_and_stay_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    light = torch.arange(256, dtype=torch.float32)
    density = optical_density(light)
    np.testing.assert_array_equal(light, LIGHT)
    np.testing.assert_allclose(density, optical_density(LIGHT), atol=1e-6)
    np.testing.assert_array_equal(density, optical_density(torch.from_numpy(LIGHT)))
    np.testing.assert_allclose(transmitted_light(density), LIGHT, atol=1e-3)
    assert transmitted_light(torch.tensor([-1.0, 9.0])).tolist() == [255, 0]
