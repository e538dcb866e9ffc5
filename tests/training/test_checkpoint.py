"""Checkpoints are whole or not there, and reading one executes nothing."""

import errno
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_nh2st.errors import InputError
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint

STATE = {
    "network": {"weight": torch.arange(12.0).reshape(3, 4), "steps": torch.tensor(7)},
    "averaged": None,
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
    "epoch": 2,
    "history": [{"epoch": 1, "loss": 0.25, "validation_pcc": None}],
}


def is_of_epoch(path: Path, epoch: int) -> bool:
    return bool(read_checkpoint(path)["epoch"] == epoch)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_checkpoint(path, STATE)
    state = read_checkpoint(path)
    assert list(state) == list(STATE)
    for name, tensor in STATE["network"].items():  # type: ignore[attr-defined]
        assert torch.equal(state["network"][name], tensor)
    assert state["optimizer"] == STATE["optimizer"]
    assert state["history"] == STATE["history"]
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def half_a_file(state: Any, file: Any) -> None:
    """As ``torch.save`` on a disk that fills up."""
    whole = io.BytesIO()
    _save(state, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    raise OSError(errno.ENOSPC, "No space left on device")


_save = torch.save


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_fills_up_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    path = tmp_path / "last.pt"
    if there:
        write_checkpoint(path, STATE)
    monkeypatch.setattr(torch, "save", half_a_file)
    with pytest.raises(InputError, match=r"last\.pt cannot be written: No space left on device"):
        write_checkpoint(path, STATE | {"epoch": 3})
    assert [p.name for p in tmp_path.iterdir()] == (["last.pt"] if there else [])
    assert not there or is_of_epoch(path, 2)


def test_an_interrupt_in_the_middle_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    write_checkpoint(path, STATE)

    def interrupted(_: Any, file: Any) -> None:
        file.write(b"PK half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, STATE | {"epoch": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert is_of_epoch(path, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_a_write_that_the_system_refuses_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a stand-in: torch's own writer fails on its way, at a largest size of files."""
    import resource

    path = tmp_path / "last.pt"
    write_checkpoint(path, STATE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the limit would cut it short
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"last\.pt cannot be written: File too large"):
            write_checkpoint(path, STATE | {"epoch": 3, "weights": torch.zeros(500_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert is_of_epoch(path, 2)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.last\.pt cannot be written: No such file"):
        write_checkpoint(tmp_path / "gone" / "last.pt", STATE)


def test_a_mistake_of_ours_is_not_called_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(torch, "save", wrong)
    with pytest.raises(RuntimeError, match="shapes"):
        write_checkpoint(tmp_path / "last.pt", STATE)
    assert list(tmp_path.iterdir()) == []


class Malicious:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("wrapped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path: Path, wrapped: bool) -> None:
    path, proof = tmp_path / "last.pt", tmp_path / "executed"
    if wrapped:
        torch.save(STATE | {"more": Malicious(proof)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(InputError, match="is damaged or not a checkpoint"):
        read_checkpoint(path)
    assert not proof.exists()


def message_of(path: Path) -> str | None:
    """Why a checkpoint is refused; None where it is read, its damage being in padding."""
    try:
        read_checkpoint(path)
    except InputError as error:
        return str(error)
    return None


def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_checkpoint(path, STATE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    contents = [b"", b"not a checkpoint", whole[: len(whole) // 2], whole[:-30], b"PK" + bytes(500)]
    for _ in range(150):
        flipped = bytearray(whole)
        for at in rng.integers(len(whole), size=4):
            flipped[at] ^= int(rng.integers(1, 256))
        contents.append(bytes(flipped))
    messages = []
    for content in contents:
        path.write_bytes(content)
        messages.append(message_of(path))
    assert all(messages[:5])
    assert sum(message is not None for message in messages) > 50
    for message in filter(None, messages):
        assert str(path) in message
        assert "\n" not in message


def test_a_file_of_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "list.pt")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "missing.pt")
