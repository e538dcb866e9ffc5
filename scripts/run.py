"""Run the demo or the tests on a machine that has Python and pip and nothing else.

    python3 scripts/run.py demo                  predict on a sample slide
    python3 scripts/run.py test                  lint, types and tests; then what needs neither
                                                 torch nor Qt with the newest versions
    python3 scripts/run.py test -- -k grid       lint, types and some tests: arguments after -- go
                                                 to pytest
    python3 scripts/run.py libraries             the system libraries of the tests alone

Needs Python 3.11 or newer. tox goes into an environment of its own, ``.venv-tox``, and makes
the others in ``.tox``; the packages of all but the newest have the versions of
``constraints.txt``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
TOX_VENV = ROOT / ".venv-tox"
COMMANDS = ("demo", "test", "libraries")
# What `test` runs after its own environment if all tests are run: nothing but newer versions shows
# that a plain installation has broken.
NEWEST = ("newest", "newest-without-torch")
NEWER_PYTHONS = ("3.14", "3.13", "3.12")

# What PyQt6's wheel, its xcb plugin and vispy load from the system: library, Debian package.
QT_LIBRARIES = {
    "libdbus-1.so.3": "libdbus-1-3",
    "libEGL.so.1": "libegl1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libGL.so.1": "libgl1",
    "libGLX_mesa.so.0": "libglx-mesa0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libOpenGL.so.0": "libopengl0",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-glx.so.0": "libxcb-glx0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
# Mesa's software renderer is a plugin, found by its file rather than by its name.
SOFTWARE_RENDERER = "swrast_dri.so"
RENDERER_PACKAGE = "libgl1-mesa-dri"
RENDERER_FOLDERS = ("lib/dri", "lib64/dri", "lib/*/dri")
SYSTEM = Path("/usr")


class SetupError(Exception):
    """The machine lacks something that this script cannot add; the message says what to do."""


def missing_packages() -> list[str]:
    """The Debian packages of what the tests' windows need and this machine lacks."""
    packages = [] if shutil.which("Xvfb") else ["xvfb"]
    for library, package in QT_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            packages.append(package)
    if not any(any(SYSTEM.glob(f"{folder}/{SOFTWARE_RENDERER}")) for folder in RENDERER_FOLDERS):
        packages.append(RENDERER_PACKAGE)
    return packages


def provide_libraries() -> None:
    """Install the system libraries that the tests' windows need, where that can be done.

    Raises
    ------
    SetupError
        They are missing and this is not the superuser of a Debian or Ubuntu machine, or apt-get
        failed.
    """
    if not sys.platform.startswith("linux"):
        return
    packages = missing_packages()
    if not packages:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        raise SetupError(
            "The tests open windows on a virtual display, and this machine lacks what these Debian "
            f"packages hold; install your system's own: {' '.join(packages)}"
        )
    if os.geteuid() != 0:
        raise SetupError(
            "The tests open windows on a virtual display and need system libraries. Run this line, "
            f"then the command again:\n  sudo apt-get update && sudo {' '.join(install)}"
        )
    print(f"Installing system libraries: {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], install):
        if subprocess.run(command, env=environment).returncode != 0:
            raise SetupError(
                f"`{' '.join(command)}` failed. Install these packages, then run the command "
                f"again: {' '.join(packages)}"
            )


def tox_version() -> str:
    """The version of tox that constraints.txt names."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("tox=="):
            return line.removeprefix("tox==").strip()
    raise SetupError(f"{CONSTRAINTS.name} names no version of tox; add a line tox==….")


def venv_python() -> Path:
    """The interpreter of tox's own environment."""
    return TOX_VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def has_tox() -> bool:
    """Whether tox's environment stands, with this Python and the tox of constraints.txt."""
    probe = "import sys, importlib.metadata as m; print(*sys.version_info[:2], m.version('tox'))"
    try:
        found = subprocess.run([venv_python(), "-c", probe], capture_output=True, text=True)
    except OSError:
        return False
    wanted = [*map(str, sys.version_info[:2]), tox_version()]
    return found.returncode == 0 and found.stdout.split() == wanted


def make_tox_venv() -> None:
    """Make tox's own environment.

    Debian's Python comes without ensurepip, and its pip installs nothing outside a virtual
    environment. So where ensurepip is missing, the environment is made without pip and the
    system's pip, told to work on it, fills it.

    Raises
    ------
    SetupError
        Neither ensurepip nor pip is there, or one of the steps failed.
    """
    make = [sys.executable, "-m", "venv", "--clear"]
    requirements = ["install", "--quiet", "tox", "--constraint", str(CONSTRAINTS)]
    if importlib.util.find_spec("ensurepip"):
        steps = [[*make, str(TOX_VENV)], [str(venv_python()), "-m", "pip", *requirements]]
    elif importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "--python", str(venv_python())]
        steps = [[*make, "--without-pip", str(TOX_VENV)], [*pip, *requirements]]
    else:
        raise SetupError(
            f"{sys.executable} has neither pip nor ensurepip; install pip for it (on Debian and "
            "Ubuntu: sudo apt-get install -y python3-pip)."
        )
    print(f"Installing tox in {TOX_VENV.name}", flush=True)
    for step in steps:
        if subprocess.run(step).returncode != 0:
            raise SetupError(f"Setting up tox failed at: {' '.join(step)}")


def newer_python() -> str | None:
    """The newest other Python on this machine that runs, on the path or beside it in pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in NEWER_PYTHONS:
        found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
        for python in filter(None, found):
            probe = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            try:
                answer = subprocess.run(probe, capture_output=True, text=True)
            except OSError:
                continue
            # What pyenv puts on the path may be a name that answers for no installed version.
            if answer.returncode == 0 and answer.stdout.strip() == version:
                return str(python)
    return None


def run_tox(environment_names: Sequence[str], arguments: list[str]) -> int:
    """Run tox environments, one after the other; return tox's exit code."""
    environment = dict(os.environ)
    # tox runs in the project's folder, the data may be given relative to another.
    if data := environment.get("NH2ST_TEST_DATA"):
        environment["NH2ST_TEST_DATA"] = str(Path(data).resolve())
    # Else virtualenv fetches a newer pip than the one it was pinned with.
    environment["VIRTUALENV_NO_PERIODIC_UPDATE"] = "1"
    names = ",".join(environment_names)
    print(f"Running tox environments {names}; the first time installs them", flush=True)
    tox = [str(venv_python()), "-m", "tox"]
    options = ["--root", str(ROOT), "--conf", str(ROOT / "tox.ini"), "-e", names]
    if "newest-without-torch" in environment_names:
        if python := newer_python():
            options += ["--discover", python]
            # The other rooms are tested with the newest versions there.
            environment.setdefault("NH2ST_NEWEST_TESTS", "tests/model")
        else:
            print(f"No Python {' or '.join(NEWER_PYTHONS)}: newest-without-torch is skipped")
    if len(environment_names) > 1:
        # Installing waits for the network and for one core. What fails is reported by the run.
        prepare = ["run-parallel", "--notest", "--parallel-no-spinner", "--parallel", "2"]
        subprocess.run([*tox, *prepare, *options], cwd=ROOT, env=environment)
    if arguments:
        options += ["--", *arguments]
    return subprocess.run([*tox, "run", *options], cwd=ROOT, env=environment).returncode


def main(arguments: list[str]) -> int:
    """Do what the command line asks; return the exit code."""
    command, *rest = arguments or [""]
    if command in ("-h", "--help"):
        print(__doc__)
        return 0
    if command not in COMMANDS or (rest and rest[0] != "--"):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036 - the machine's Python, not the project's
        print(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    try:
        if command != "demo":
            provide_libraries()
        if command == "libraries":
            return 0
        if not has_tox():
            make_tox_venv()
        names = [command]
        if command == "test":
            names = ["older-anndata", "test", *(() if rest else NEWEST)]
        return run_tox(names, rest[1:])
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
