"""Predictions of slides at URLs: those of local ones, and resumed after the network was away."""

from pathlib import Path

import numpy as np
import pytest
import torch

from array_slides import textured, write_tiff
from file_server import FileServer
from napari_nh2st.errors import RemoteError
from napari_nh2st.inference import Event, PredictSettings, Started, TilesDone, predict
from napari_nh2st.prediction.schema import notes
from napari_nh2st.remote import block_cache
from napari_nh2st.slide import open_slide
from small_models import small_model

torch.set_num_threads(1)

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=4, reader_threads=2
)


@pytest.mark.parametrize("context", ["query", "neighborhood"])
def test_a_prediction_is_that_of_the_local_slide_also_when_resumed(
    server: FileServer, tmp_path: Path, context: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is kept: what the tissue was found by is asked for again.
    monkeypatch.setenv(block_cache.VARIABLE, "0")
    monkeypatch.setattr(block_cache, "_MEMORY", 0)
    pixels = textured(400, 500)
    place = write_tiff(server.folder / "slide.tif", pixels, pixels[::4, ::4])
    url, model = f"{server.url}/slide.tif?X-Amz-Signature=secret", small_model(context)
    output = tmp_path / "remote.h5ad"
    with open_slide(place, mpp=0.5) as slide:
        local = predict(slide, model, SETTINGS)
    done = 0

    def lose_the_network(event: Event) -> None:
        nonlocal done
        if isinstance(event, TilesDone):
            done, server.status = event.done, 503

    with (
        open_slide(url, mpp=0.5) as slide,
        pytest.raises(RemoteError, match=r"slide.tif\?…: 127.0.0.1 answers 503"),
    ):
        predict(slide, model, SETTINGS, output=output, on_event=lose_the_network)
    assert 0 < done < local.n_obs
    server.status = 0
    resumed = 0

    def note(event: Event) -> None:
        nonlocal resumed
        if isinstance(event, Started):
            resumed = event.done

    with open_slide(url, mpp=0.5) as slide:
        remote = predict(slide, model, SETTINGS, output=output, on_event=note)
    assert resumed > 0
    np.testing.assert_array_equal(remote.X, local.X)
    np.testing.assert_array_equal(remote.obs["status"], local.obs["status"])
    record = notes(remote)["slide"]
    assert record["fingerprint"] == notes(local)["slide"]["fingerprint"]
    assert record["path"] == f"{server.url}/slide.tif?…"
    assert "secret" not in str(remote.uns)
    assert b"secret" not in output.read_bytes()
