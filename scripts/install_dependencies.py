"""Install the package without torch, with the newest or the lowest versions of what it needs.

    python scripts/install_dependencies.py --newest
    python scripts/install_dependencies.py --lowest
    python scripts/install_dependencies.py --scverse

They come from pyproject.toml: dependencies, the extras that need no Qt, and the tests' group. torch
is left out, which is large and has a test environment of its own, and what stands on it. With
--scverse come squidpy, spatialdata-plot and Vitessce as well, the newest that go together.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("lightning-fabric", "torch")
EXTRAS = ("openslide", "s3", "visium-hd")
# They need newer versions of what the package itself needs than it does: not with the lowest.
NEWEST_EXTRAS = ("spatialdata",)
NEWEST_TESTS = ("ome-zarr",)
GROUP = "core-test"
SCVERSE = ("squidpy>=1.8", "spatialdata-plot", "vitessce")

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LOWEST = re.compile(r">=\s*([0-9][0-9a-z.]*)")


def requirements(extra_names: Sequence[str]) -> list[str]:
    """What is installed, as pyproject.toml has it: dependencies and extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in extra_names for line in extras[name])]
    return [line for line in lines if name_of(line) not in LEFT_OUT]


def test_requirements() -> list[str]:
    """What the tests need."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(groups["dependency-groups"][GROUP])


def name_of(requirement: str) -> str:
    """The name of the package in a requirement."""
    found = _NAME.match(requirement)
    assert found is not None, requirement
    return found[0]


def lowest(lines: list[str]) -> list[str]:
    """Constraints that pin each requirement to its lower bound."""
    bounds = ((name_of(line), _LOWEST.search(line)) for line in lines)
    return [f"{name}=={bound[1]}" for name, bound in bounds if bound is not None]


def pip_install(*arguments: str) -> None:
    """Run pip in this environment."""
    subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=True)


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--newest", action="store_true", help="the newest versions there are")
    kind.add_argument("--lowest", action="store_true", help="the lower bounds of pyproject.toml")
    kind.add_argument("--scverse", action="store_true", help="beside squidpy and Vitessce")
    options = parser.parse_args()
    if options.scverse:
        pip_install(*requirements(NEWEST_EXTRAS), *SCVERSE, *test_requirements())
    elif options.newest:
        wanted = requirements(EXTRAS + NEWEST_EXTRAS)
        pip_install("--upgrade", "--upgrade-strategy", "eager", *wanted, *test_requirements())
    else:
        wanted = requirements(EXTRAS)
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "lowest.txt")
            constraints.write_text("\n".join(lowest(wanted)), encoding="utf-8")
            tests = [line for line in test_requirements() if name_of(line) not in NEWEST_TESTS]
            pip_install("--constraint", str(constraints), *wanted, *tests)
    pip_install("--no-deps", "--force-reinstall", str(ROOT))


if __name__ == "__main__":
    main()
