"""Models as folders: config, weights, further heads where there are some, and a card."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_nh2st.errors import InputError
from napari_nh2st.files import make_folder, recover, whole_output
from napari_nh2st.files_of_others import files_of_others, keep_files
from napari_nh2st.model.architectures import ARCHITECTURES, Architecture
from napari_nh2st.model.card import model_card, model_html, model_summary
from napari_nh2st.model.config import (
    CARD_FILE,
    CONFIG_FILE,
    ENCODER_FILE,
    HEADS_FILE,
    WEIGHTS_FILE,
    ModelConfig,
    read_config,
)
from napari_nh2st.model.encoders.adapters import is_adapter_tensor
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.licences import may_be_stored
from napari_nh2st.model.encoders.onnx_models import OnnxEncoder
from napari_nh2st.model.encoders.readers import describe, weights_place
from napari_nh2st.model.heads import Heads, head_shapes
from napari_nh2st.model.network import Network
from napari_nh2st.model.weights_file import (
    Shapes,
    check_finite,
    checked_shapes,
    file_sha256,
    misfit,
    read_finite,
    shapes_of,
)

ENCODER_FOLDER = "encoder"
"""Where a model folder's user can put an encoder whose weights the model does not hold."""

_ENCODER = "image_encoder."
_LARGEST_ENCODER = 3 * 1024**3
"""Bytes of weights that a model folder holds of an encoder; what is larger is left where it is."""


@dataclass(frozen=True, repr=False)
class Model:
    """A network with its config.

    Parameters
    ----------
    config
        What it says of itself.
    network
        The network, float32, in eval mode, on the CPU.
    source
        Where it came from, as shown to the user.
    heads
        Further heads, which tell how far a value can be trusted; None without.
    """

    config: ModelConfig
    network: nn.Module
    source: str
    heads: Heads | None = None

    def __repr__(self) -> str:
        trained = "" if self.config.trained else "UNTRAINED, "
        return f"<Model {self.config.name}: {trained}{model_summary(self.config)}>"

    def _repr_html_(self) -> str:
        return model_html(self.config, self.source)

    @property
    def architecture(self) -> Architecture:
        """How the network is made ready to predict."""
        return ARCHITECTURES[self.config.architecture]


def new_model(config: ModelConfig, seed: int) -> Model:
    """An untrained model: random weights, which a card and a prediction say.

    Parameters
    ----------
    config
        What to build; its ``training`` is replaced.
    seed
        Seed of the weights. The caller's random state is left as it was.

    Raises
    ------
    InputError
        The config names an architecture or hyperparameter that there is not.
    """
    training = {
        "trained": False,
        "summary": f"UNTRAINED: random weights (seed {seed}). Predictions mean nothing.",
        "seed": seed,
    }
    config = replace(
        config,
        training=training,
        reliability=None,
        reliability_of=None,
        interval_90=None,
        usual_spread=None,
        heads=None,
    )
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; it must be from 0 to below 2^63")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _architecture(config, "the config").build(config).eval()
    return Model(config, network, f"{config.name} (new)")


def load_model_folder(folder: Path, source: str | None = None) -> Model:
    """Read a model folder, checking config and weights against each other.

    Parameters
    ----------
    folder
        Holds `config.json` and `model.safetensors`, and `heads.safetensors` where the config says
        so.
    source
        How to call it; the folder itself by default.

    Raises
    ------
    InputError
        Something is missing, damaged or does not fit; the field or tensor is named.
    """
    config = read_config(folder)
    where = f"{folder / CONFIG_FILE}"
    architecture = _architecture(config, where)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise InputError(f"{folder} has no {WEIGHTS_FILE}, the weights of the model")
    shapes = checked_shapes(weights, config.weights, "weights")
    try:
        with torch.device("meta"):  # shapes, and no memory
            expected = shapes_of(architecture.build(config).state_dict())
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if config.encoder is not None and config.encoder["weights"] == "elsewhere":
        expected = {n: s for n, s in expected.items() if not _is_elsewhere(n)}
    if wrong := misfit(expected, shapes):
        raise InputError(f"{weights} does not fit {CONFIG_FILE}: {wrong}")
    heads = _load_heads(folder, config, architecture, expected)
    network = architecture.build(config)
    if isinstance(network, Network) and isinstance(network.image_encoder, ForeignEncoder):
        _read_encoder(network.image_encoder, config, folder)
    # Names and shapes were compared above; only an encoder from elsewhere is not in the file.
    network.load_state_dict(read_finite(weights), strict=config.encoder is None)
    return Model(config, network.eval(), source or str(folder), heads)


def _is_elsewhere(name: str) -> bool:
    """Whether a tensor is not in the model's file where that does not hold the encoder."""
    return name.startswith(_ENCODER) and not is_adapter_tensor(name)


def _read_encoder(encoder: ForeignEncoder, config: ModelConfig, folder: Path) -> None:
    """Give an encoder the weights that are not in the model's own file."""
    assert config.encoder is not None
    if encoder.spec.takes_features:  # which were computed elsewhere, and come with the slides
        return
    if config.encoder["weights"] == "model":
        if isinstance(encoder, OnnxEncoder):
            encoder.read_weights(folder / ENCODER_FILE)
        return
    beside = folder / ENCODER_FOLDER
    if beside.is_dir():
        files = sorted(beside.glob("*.onnx"))
        encoder.read_weights(files[0] if isinstance(encoder, OnnxEncoder) and files else beside)
        return
    try:
        place = weights_place(parse_key(encoder.spec.key))
    except InputError as error:
        raise InputError(
            f"{folder} does not hold the weights of its image encoder. {error}; or put it into "
            f"{beside}"
        ) from None
    encoder.read_weights(place)


def _load_heads(
    folder: Path, config: ModelConfig, architecture: Architecture, network: Shapes
) -> Heads | None:
    """The further heads of a model whose network has these shapes; None where it has none."""
    if config.heads is None:
        return None
    parts = architecture.head_parts(config)
    if not parts:
        raise InputError(
            f"{folder / CONFIG_FILE}: heads are given, but architecture {config.architecture!r} "
            "cannot have several"
        )
    path = folder / HEADS_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {HEADS_FILE}, which {CONFIG_FILE} names")
    n_features = architecture.n_features(config)
    expected = head_shapes(network, parts, n_features, int(config.heads["count"]))
    if wrong := misfit(expected, checked_shapes(path, config.heads, "heads")):
        raise InputError(f"{path} does not fit {CONFIG_FILE}: {wrong}")
    return Heads.from_tensors(read_finite(path))


def save_model_folder(
    model: Model,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    *,
    overwrite: bool = False,
) -> Model:
    """Write a model folder, all of it or nothing.

    Parameters
    ----------
    model
        The model to write.
    folder
        Folder to write, which must not exist unless it is to be replaced; its parents are created.
    dtype
        Type of the stored weights.
    overwrite
        Whether an existing model folder, recognized by its config, may be replaced; nothing else
        ever is. The old one stays until the new one is written. Other files in it are kept.

    Returns
    -------
    Model
        The model with its config as written (``weights`` and ``heads`` filled in).

    Raises
    ------
    InputError
        The folder exists and may not be replaced, is not a model folder, or cannot be written.
    """
    recover(folder)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} already exists; give another folder or remove it first")
    others = _files_of_others(folder)
    state = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in model.network.state_dict().items()
    }
    heads = None if model.heads is None else model.heads.tensors(dtype)
    encoder, described = _foreign(model.network), model.config.encoder
    if encoder is not None:
        is_held = may_be_stored(encoder.spec.licence) and _size(encoder) <= _LARGEST_ENCODER
        described = describe(encoder) | {"weights": "model" if is_held else "elsewhere"}
        if not is_held:
            state = {n: tensor for n, tensor in state.items() if not _is_elsewhere(n)}
    check_finite(state | (heads or {}), f"{folder} is not written")
    make_folder(folder.parent)
    with whole_output(folder) as draft:
        draft.mkdir()
        try:
            sha256 = _write_tensors(state, draft / WEIGHTS_FILE)
            config = replace(
                model.config,
                weights={"file": WEIGHTS_FILE, "sha256": sha256},
                heads=None,
                encoder=described,
            )
            if isinstance(encoder, OnnxEncoder) and encoder.source is not None and is_held:
                shutil.copy2(encoder.source, draft / ENCODER_FILE)
            if model.heads is not None and heads is not None:
                sha256 = _write_tensors(heads, draft / HEADS_FILE)
                about = {"file": HEADS_FILE, "sha256": sha256, "count": model.heads.count}
                config = replace(config, heads=about)
        except safetensors.SafetensorError as error:  # such as on a full disk
            raise InputError(f"{folder} cannot be written: {error}") from None
        # What is written can be read: a wrong field is refused here, and not when it is loaded.
        try:
            text = json.dumps(config.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise InputError(
                "the config has a number that is not finite; µm/px and pitch have to be"
            ) from None
        ModelConfig.from_json(json.loads(text), "the config")
        (draft / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        (draft / CARD_FILE).write_text(model_card(config), encoding="utf-8")
        keep_files(folder, draft, others)
    return replace(model, config=config, source=str(folder))


def _foreign(network: nn.Module) -> ForeignEncoder | None:
    """A network's encoder where another library builds it."""
    encoder = network.image_encoder if isinstance(network, Network) else None
    return encoder if isinstance(encoder, ForeignEncoder) else None


def _size(encoder: ForeignEncoder) -> int:
    """Bytes of an encoder's weights."""
    tensors = sum(tensor.nbytes for tensor in encoder.state_dict().values())
    is_file = isinstance(encoder, OnnxEncoder) and encoder.source is not None
    return tensors + (encoder.source.stat().st_size if is_file and encoder.source else 0)


def _write_tensors(tensors: Mapping[str, Tensor], path: Path) -> str:
    """Write tensors; gives the file's sha256."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return file_sha256(path)


def _files_of_others(folder: Path) -> list[str]:
    """What lies in a model folder that is to be replaced, and is not of the model.

    Raises
    ------
    InputError
        It is no model folder.
    """
    if not folder.exists():
        return []
    try:
        read_config(folder)
    except InputError as error:
        raise InputError(f"{error}. {folder} is not overwritten; give another folder") from None
    own = (CONFIG_FILE, WEIGHTS_FILE, HEADS_FILE, CARD_FILE, ENCODER_FILE)
    return files_of_others(folder, own)


def _architecture(config: ModelConfig, where: str) -> Architecture:
    try:
        return ARCHITECTURES[config.architecture]
    except KeyError:
        raise InputError(
            f"{where}: architecture is {config.architecture!r}; this version has "
            f"{', '.join(map(repr, ARCHITECTURES))}"
        ) from None
