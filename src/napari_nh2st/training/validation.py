"""Validation of a network during its training, on sections set aside."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_nh2st.analysis.scores import pearson
from napari_nh2st.training.batches import patches
from napari_nh2st.training.inputs import StudyInputs, TrainedPart

_QUERIES_A_PASS = 64


@dataclass(frozen=True)
class ValidationScore:
    """Scores on the sections set aside, each counting the same.

    Parameters
    ----------
    pcc
        Pearson correlation, mean over genes that vary.
    mse, baseline_mse
        Mean squared error of the prediction, and of each gene's mean in training.
    """

    pcc: float
    mse: float
    baseline_mse: float


def validate(
    part: TrainedPart, inputs: StudyInputs, baseline: NDArray[np.floating]
) -> ValidationScore:
    """Predict all sections of the inputs and compare.

    Parameters
    ----------
    part
        The network; put into eval mode meanwhile.
    inputs
        Inputs of the sections set aside.
    baseline
        (panel,) mean of the target in training.
    """
    pcc, mse, baseline_mse = [], [], []
    for number, section in enumerate(inputs.study.sections):
        predicted = predict_section(part, inputs, number)
        correlation = pearson(predicted, section.target)
        # A network that has collapsed predicts constants: that is no correlation, not no answer.
        pcc.append(float(np.nan_to_num(correlation).mean()))
        mse.append(float(np.square(predicted - section.target).mean()))
        baseline_mse.append(float(np.square(baseline - section.target).mean()))
    return ValidationScore(float(np.mean(pcc)), float(np.mean(mse)), float(np.mean(baseline_mse)))


@torch.no_grad()
def predict_section(part: TrainedPart, inputs: StudyInputs, number: int) -> NDArray[np.float32]:
    """Predictions (spots, panel) of a section, by its number in the inputs' study."""
    study = inputs.study
    network = part.network
    first = study.first[number]
    result = np.empty(tuple(study.sections[number].target.shape), np.float32)
    was_training = part.training
    part.eval()
    if network.reach == "slide":
        rows = np.arange(first, study.first[number + 1])
        maps = part.maps(inputs.plain(rows))
        centers = torch.from_numpy(study.places[rows]).to(maps.device)
        result[:] = network.predict_slide(maps, centers).float().cpu().numpy()
        part.train(was_training)
        return result
    # Compact parts share most of their neighbors' tiles.
    for queries in patches(study.centers[number], _QUERIES_A_PASS, np.random.default_rng(0)):
        rows = queries + first
        if network.reach == "tile":
            predicted = network.predict(part.maps(inputs.plain(rows)))
        else:
            needed, near = np.unique(study.neighborhoods[rows], return_inverse=True)
            near = near.reshape(len(rows), -1)
            maps = part.maps(inputs.plain(needed))
            index = torch.from_numpy(near).to(maps.device)
            mask = torch.from_numpy(study.mask[rows]).to(maps.device)
            offsets = study.offsets(needed, near).to(maps.device)
            predicted = network.predict(maps, index, mask, offsets)
        result[queries] = predicted.float().cpu().numpy()
    part.train(was_training)
    return result
