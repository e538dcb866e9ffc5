"""Options that several commands have."""

import argparse
from collections import Counter
from pathlib import Path

from napari_nh2st.errors import InputError


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_image(command: argparse.ArgumentParser) -> None:
    """Add ``--image``."""
    command.add_argument(
        "--image",
        metavar="I",
        help="which image of a file with several, by number or name (default: the largest "
        "brightfield one; `nh2st info` lists them)",
    )


def add_overwrite(command: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    command.add_argument(
        "--overwrite", action="store_true", help="replace an output of an earlier run"
    )


def add_genes(command: argparse.ArgumentParser, default: str) -> None:
    """Add ``--genes`` and ``--genes-file``, of which :func:`chosen_genes` reads one."""
    genes = command.add_mutually_exclusive_group()
    genes.add_argument("--genes", metavar="A,B", help=default)
    genes.add_argument("--genes-file", type=Path, metavar="F", help="one gene per line")


def add_device(command: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--precision``."""
    command.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N or mps"
    )
    command.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="default: what is fastest on the device without harm",
    )


def comma_list(text: str) -> tuple[str, ...]:
    """``A,B`` → ``("A", "B")``."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def chosen_genes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The genes of ``--genes`` or ``--genes-file``; None where neither was given.

    Raises
    ------
    InputError
        As :func:`read_genes`.
    """
    if args.genes_file is not None:
        return read_genes(args.genes_file)
    return None if args.genes is None else comma_list(args.genes)


def read_genes(path: Path) -> tuple[str, ...]:
    """Read gene names, one per line; blank lines and what follows a # are left out.

    Raises
    ------
    InputError
        The file cannot be read, has no gene, or has one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of gene names") from None
    genes = [name for line in lines if (name := line.split("#")[0].strip())]
    if not genes:
        raise InputError(f"{path} has no gene; it needs one name per line")
    twice, count = Counter(genes).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has gene {twice} more than once")
    return tuple(genes)
