"""``nh2st doctor``: what this installation has, what it lacks, and the lines that mend it."""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from napari_nh2st.cli.options import add_json
from napari_nh2st.cli.output import print_json, print_table, show
from napari_nh2st.errors import first_line

_NAME = "napari-nh2st"
_SHOWN = (
    "numpy",
    "anndata",
    "torch",
    "tifffile",
    "imagecodecs",
    "zarr",
    "napari",
    "PyQt6",
    "PySide6",
)
_CODECS = ("jpeg8", "jpeg2k", "jpegxl", "jpegxr", "webp", "lzw", "deflate", "lzma", "zstd")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*?(extra == ['\"](?P<extra>[\w.-]+)['\"])?$")
_OPENGL_TIMEOUT_S = 60
_NONE_IS_COUNTED = sys.version_info < (3, 12)
"""Whether references to None can run out, which ends the process."""
_OPENGL = """
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
app = QGuiApplication([])
context, surface = QOpenGLContext(), QOffscreenSurface()
assert context.create(), "no context can be made"
surface.create()
assert context.makeCurrent(surface), "no context can be made current"
from vispy.gloo import gl
print(gl.glGetParameter(gl.GL_VERSION), gl.glGetParameter(gl.GL_RENDERER), sep=", ")
"""
"""Prints version and renderer, in a process of its own: without a display Qt ends the process."""

Rows = dict[str, str]


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st doctor``."""
    add_json(command)


def run(args: argparse.Namespace) -> int:
    """Run ``nh2st doctor``; 1 where something is missing that every command needs."""
    required, extras = _requirements()
    folders, unwritable = _folders()
    sections: dict[str, Rows] = {
        "versions": _versions(),
        "devices": _devices() if "torch" not in required else {"torch": "not installed"},
        "codecs": _codecs(),
        "display": {"OpenGL": _opengl()},
        "folders": folders,
    }
    if required:
        needs = dict.fromkeys(required, "missing; pip install --upgrade napari-nh2st")
        sections["dependencies"] = needs
    sections["extras"] = {
        extra: f"pip install 'napari-nh2st[{extra}]'  # {', '.join(lacking)}"
        if lacking
        else "installed"
        for extra, lacking in extras.items()
    }
    if args.json:
        print_json(sections)
    else:
        for number, (title, rows) in enumerate(sections.items()):
            show(f"{chr(10) if number else ''}{title}")
            print_table([(f"  {name}", value) for name, value in rows.items()])
    return 1 if required or unwritable else 0


def _versions() -> Rows:
    rows = {
        "napari-nh2st": metadata.version(_NAME),
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": platform.platform(),
    }
    for name in _SHOWN:
        found = _version(name)
        rows |= {} if found is None else {name: found}
    if rows.get("PySide6") == "6.12.0" and _NONE_IS_COUNTED:  # it loses one each processEvents()
        rows["PySide6"] += "; ends Python 3.11 while napari is used: pip install 'PySide6!=6.12.0'"
    return rows


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Dependencies that are not installed, and of each extra those that are not."""
    required: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in metadata.requires(_NAME) or ():
        found = _REQUIREMENT.match(line)
        assert found is not None
        of_extra = extras.setdefault(found["extra"], []) if found["extra"] else required
        if _version(found["name"]) is None:
            of_extra.append(found["name"])
    return required, extras


def _devices() -> Rows:
    from napari_nh2st.inference.device import available_devices, missing_devices

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    missing = {name: f"no: {reason}" for name, reason in missing_devices().items()}
    return {**available_devices(), **missing, "cores": str(cores)}


def _codecs() -> Rows:
    """What decodes slides."""
    from napari_nh2st.extras import import_problem

    try:
        import imagecodecs
    except Exception as error:  # a library that is broken raises whatever it meets
        return {"imagecodecs": first_line(error)}
    lacking = [name for name in _CODECS if not getattr(imagecodecs, name.upper()).available]
    openslide = import_problem("openslide")
    return {
        "imagecodecs": f"without {', '.join(lacking)}" if lacking else "complete",
        "openslide": "works" if openslide is None else openslide,
    }


def _opengl() -> str:
    """Version and renderer of napari's canvas, or why there is none."""
    if _version("napari") is None:
        return "not needed without napari: pip install 'napari-nh2st[napari]'"
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _OPENGL],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_OPENGL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_OPENGL_TIMEOUT_S} s"
    if ended.returncode == 0:
        return ended.stdout.strip().splitlines()[-1]
    said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    reason = next((line for line in said if "could not connect to display" in line), None)
    return f"none: {reason or (said[-1] if said else 'Qt ended the process')}"


def _folders() -> tuple[Rows, bool]:
    """Folders that are written to with the space that is left, and whether one cannot be."""
    from napari_nh2st.cache import cache_folder
    from napari_nh2st.cli.error_log import log_folder

    rows: Rows = {}
    unwritable = False
    places: dict[str, Callable[[], Path]] = {"cache": lambda: cache_folder(""), "log": log_folder}
    for name, find in places.items():
        try:
            folder = find()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            free = shutil.disk_usage(folder).free
            rows[name] = f"{folder}, {free / 1e9:.1f} GB free"
        except OSError as error:
            unwritable = True
            advice = "; set NH2ST_CACHE to a folder that can be written"
            rows[name] = f"{first_line(error)}{advice}"
    return rows, unwritable
