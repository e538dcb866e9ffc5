"""Models on the Hugging Face Hub: pushed in one commit, and pulled pinned to one.

Weights travel as safetensors, and nothing of a repository is ever run. Tokens are those of
``huggingface_hub`` (``hf auth login``, or ``HF_TOKEN``): they are neither read nor kept here.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.extras import import_extra
from napari_nh2st.files import make_folder, whole_output
from napari_nh2st.json_text import parse_json
from napari_nh2st.model.card import hub_card
from napari_nh2st.model.config import (
    CARD_FILE,
    CONFIG_FILE,
    ENCODER_FILE,
    HEADS_FILE,
    WEIGHTS_FILE,
    ModelConfig,
    read_config,
)
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.licences import may_be_stored, storage_words
from napari_nh2st.model.hub_files import fetch_files
from napari_nh2st.model.hub_licences import licence_metadata
from napari_nh2st.model.sources import HUB_FILES, HUB_PREFIX, hub_snapshot

_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?")
_MOST_PATHS = 3


@dataclass(frozen=True)
class PushedModel:
    """What a push sends or has sent.

    Parameters
    ----------
    repository
        ``owner/name`` on the Hub.
    files
        Size in bytes of each file.
    card
        The model card, with its metadata.
    notices
        Sentences that the publisher of the model should read.
    commit
        Hash of the commit; "" if nothing was sent.
    """

    repository: str
    files: Mapping[str, int]
    card: str
    notices: tuple[str, ...]
    commit: str = ""

    @property
    def name(self) -> str:
        """Id pinned to the commit, by which exactly this model can always be loaded."""
        return f"{self.repository}@{self.commit}" if self.commit else self.repository


def push_model(
    folder: Path | str,
    repository: str,
    licence: str,
    *,
    licence_name: str | None = None,
    licence_link: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> PushedModel:
    """Publish a model folder in one commit: all of it or nothing.

    Parameters
    ----------
    folder
        Folder of the model. Files in it that are not the model's are not sent, nor weights of an
        encoder whose licence does not allow redistribution.
    repository
        ``hf:owner/name``; created if it does not exist. In an existing one, a further commit
        replaces the model.
    licence
        Licence of the model as the Hub spells it, such as ``"cc-by-4.0"``, ``"mit"`` or
        ``"other"``.
    licence_name, licence_link
        For the licence ``"other"``: a short name, and the URL of its text.
    private
        Whether a new repository is visible to its owner alone.
    dry_run
        Send nothing, and do not contact the Hub.

    Raises
    ------
    InputError
        The folder is not a valid model, its encoder may not be redistributed, the name or the
        licence is invalid, the repository holds something else, or the Hub refuses the push or
        cannot be reached.

    Examples
    --------
    .. code-block:: python

        push_model("run/model", "hf:my-lab/breast", "cc-by-4.0", private=True, dry_run=True).files
    """
    folder = Path(folder).expanduser()
    name, revision = _parsed(repository)
    if revision is not None:
        raise InputError(f"{repository}: a push makes a commit of its own: leave @{revision} out")
    terms = licence_metadata(licence, licence_name, licence_link)
    config = read_config(folder)
    files = _checked_files(folder, config)
    card = hub_card(config, terms, name)
    notices = tuple(_notices(folder, config))
    sizes = {file: (folder / file).stat().st_size for file in files}
    push = PushedModel(name, {**sizes, CARD_FILE: len(card.encode())}, card, notices)
    if dry_run:
        return push
    return PushedModel(name, push.files, card, notices, _sent(folder, push, private))


def pull_model(name: str, output: Path | str | None = None) -> str:
    """Download a model from the Hub, to use it offline from then on.

    Parameters
    ----------
    name
        ``hf:owner/name``, or ``hf:owner/name@REVISION`` with a commit, a branch or a tag.
    output
        A folder to copy it to, which must not exist yet; None to keep it in the cache alone.

    Returns
    -------
    str
        ``owner/name@COMMIT``: the id pinned to its commit, as :func:`~napari_nh2st.load_model` and
        ``--model`` take it.

    Raises
    ------
    InputError
        There is no such model or revision, it is damaged or not a model of this package, or the
        Hub cannot be reached.

    Examples
    --------
    .. code-block:: python

        model = load_model(pull_model("hf:my-lab/breast"))
    """
    repository, revision = _parsed(name)
    place = None if output is None else Path(output).expanduser()
    if place is not None and place.exists():
        raise InputError(f"{place} already exists; give another folder or remove it first")
    hub = import_extra("huggingface_hub", "hub", "A model from the Hugging Face Hub")
    try:
        info = _api(hub).model_info(repository, revision=revision)
    except Exception as error:  # its errors come from several HTTP libraries
        raise _hub_error(hub, error, name) from error
    there = {file.rfilename for file in info.siblings or ()}
    if lacking := [file for file in (CONFIG_FILE, WEIGHTS_FILE) if file not in there]:
        raise InputError(
            f"{name} is not a model of nh2st: it has no {' and no '.join(lacking)}. Pickled "
            "weights are never loaded."
        )
    pinned = f"{repository}@{info.sha}"
    try:
        fetch_files(hub, repository, str(info.sha), [f for f in HUB_FILES if f in there])
    except Exception as error:
        raise _hub_error(hub, error, name) from error
    folder = hub_snapshot(repository, str(info.sha))
    try:
        files = _checked_files(folder, read_config(folder))
    except InputError as error:
        _forget(hub, str(info.sha))
        raise InputError(f"{pinned} is damaged, and was removed again: {error}") from None
    if place is not None:
        make_folder(place.absolute().parent)
        with whole_output(place) as draft:
            draft.mkdir()
            card = [CARD_FILE] if (folder / CARD_FILE).is_file() else []
            for file in (*files, *card):
                shutil.copyfile(folder / file, draft / file)
    return pinned


def _parsed(name: str) -> tuple[str, str | None]:
    """Repository and revision of ``hf:owner/name@REVISION``."""
    match = _NAME.fullmatch(name.removeprefix(HUB_PREFIX))
    if match is None or name.startswith("."):
        raise InputError(f"{name!r} is not a repository of the Hub: give hf:owner/name")
    return match["repository"], match["revision"]


def _checked_files(folder: Path, config: ModelConfig) -> tuple[str, ...]:
    """Files of a model, which are there and are those that its config was written with.

    Raises
    ------
    InputError
        One is missing or another one, or it holds an encoder that may not be passed on.
    """
    from napari_nh2st.model.weights_file import checked_shapes

    files = [CONFIG_FILE]
    described = {WEIGHTS_FILE: ("weights", config.weights)}
    if config.heads is not None:
        described[HEADS_FILE] = ("heads", config.heads)
    for file, (field, about) in described.items():
        if not (folder / file).is_file():
            raise InputError(f"{folder} has no {file}, which {CONFIG_FILE} names")
        checked_shapes(folder / file, about, field)
        files.append(file)
    encoder = config.encoder
    if encoder is not None and encoder["weights"] == "model":
        if not may_be_stored(str(encoder["licence"])):
            raise InputError(
                f"{folder} holds the weights of {encoder['key']}, whose licence "
                f"({encoder['licence'] or 'not known'}) does not allow everybody to pass them on"
            )
        if parse_key(encoder["key"]).kind == "onnx":
            if not (folder / ENCODER_FILE).is_file():
                raise InputError(f"{folder} has no {ENCODER_FILE}, the image encoder of the model")
            files.append(ENCODER_FILE)
    return tuple(files)


def _notices(folder: Path, config: ModelConfig) -> Iterator[str]:
    """What whoever publishes a model should know."""
    if not config.trained:
        yield "The model is untrained: its predictions mean nothing, and its card says so."
    encoder = config.encoder
    if encoder is not None and not config.takes_features:
        stored = encoder["weights"] == "model"
        yield f"Image encoder {encoder['key']}: {storage_words(encoder['licence'], stored)}"
        if encoder.get("adapter") is not None and not may_be_stored(str(encoder["licence"])):
            yield (
                "The adapters that were trained on it are in the weights: check whether its "
                "licence lets you pass on what is derived from it."
            )
    others = sorted(path.name for path in folder.iterdir() if path.name not in HUB_FILES)
    if others:
        yield f"Not sent, since it is not the model's: {', '.join(others)}"
    if paths := list(dict.fromkeys(_paths_in(config.to_json()))):
        more = ", …" if len(paths) > _MOST_PATHS else ""
        yield (
            f"{CONFIG_FILE} names paths on this machine, which everybody will see: "
            f"{', '.join(paths[:_MOST_PATHS])}{more}"
        )


def _paths_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _paths_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _paths_in(inner)
    elif isinstance(value, str) and _is_place(value):
        yield value


def _is_place(text: str) -> bool:
    """Whether a text is an absolute path, also after onnx: or such, or a URL that may be signed."""
    scheme, separator, rest = text.partition("://")
    if separator:
        return scheme == "file" or "?" in rest
    return any(
        kind(each).is_absolute()
        for each in (text, text.partition(":")[2])
        for kind in (PurePosixPath, PureWindowsPath)
    )


def _sent(folder: Path, push: PushedModel, private: bool) -> str:
    """Send a model, and give the commit. A repository that was made for it goes if that fails."""
    hub = import_extra("huggingface_hub", "hub", "Publishing a model")
    api = _api(hub)
    repository = push.repository
    is_new = False
    try:
        try:
            info = api.model_info(repository)
        except hub.errors.RepositoryNotFoundError:
            info = None
        there = set() if info is None else {file.rfilename for file in info.siblings or ()}
        if there - {".gitattributes", CARD_FILE} and not (
            CONFIG_FILE in there and _is_config_of_ours(hub, repository, str(info.sha))
        ):
            raise InputError(f"{repository} holds something else than a model of nh2st")
        if info is None:
            api.create_repo(repository, private=private)
            is_new = True
        stale = (there & {HEADS_FILE, ENCODER_FILE}) - push.files.keys()
        operations = [
            hub.CommitOperationAdd(CARD_FILE, push.card.encode()),
            *(
                hub.CommitOperationAdd(file, str(folder / file))
                for file in push.files
                if file != CARD_FILE
            ),
            *(hub.CommitOperationDelete(file) for file in sorted(stale)),
        ]
        commit = api.create_commit(
            repository,
            operations,
            commit_message="Model of napari-nh2st",
            parent_commit=None if info is None else info.sha,
        )
    except BaseException as error:
        if is_new:
            with suppress(Exception):
                api.delete_repo(repository)
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        raise _hub_error(hub, error, repository) from error
    return str(commit.oid)


def _is_config_of_ours(hub: Any, repository: str, commit: str) -> bool:
    """Whether the config of a commit is a model's of this package, of whichever version.

    Other libraries' models have a file of the same name.
    """
    place = hub.hf_hub_download(
        repository, CONFIG_FILE, revision=commit, endpoint=os.environ.get("HF_ENDPOINT")
    )
    try:
        content = parse_json(Path(place).read_text(encoding="utf-8"))
    except ValueError:  # not JSON, or not UTF-8
        return False
    return isinstance(content, Mapping) and {"format", "architecture", "panel"} <= content.keys()


def _api(hub: Any) -> Any:
    # Read here as well: the library looks at it once, when it is imported.
    return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="napari-nh2st")


def _forget(hub: Any, commit: str) -> None:
    """Remove a commit from the Hub's local cache."""
    with suppress(Exception):
        hub.scan_cache_dir().delete_revisions(commit).execute()


def _hub_error(hub: Any, error: Exception, name: str) -> InputError:
    """An error of the Hub's library in a sentence."""
    errors = hub.errors
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        reason = (
            "is gated: accept its terms on its page on the Hub, log in with `hf auth login`, and "
            "try again"
        )
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = "has no such revision"
    elif isinstance(error, errors.RepositoryNotFoundError) and status != 401:
        reason = "is not on the Hub, or the Hub does not show it to you"
    elif status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        reason = (
            "is not on the Hub, or needs a login: run `hf auth login`, or set HF_TOKEN to your "
            "token"
        )
    elif status == 403:
        reason = "cannot be changed with your token, which needs write access"
    elif status == 409:
        reason = "was changed by somebody else meanwhile, or already exists: try again"
    else:
        reason = f"could not be reached on the Hub: {first_line(error)}"
    return InputError(f"{name} {reason}")
