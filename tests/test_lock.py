"""pylock.toml is what `make lock` would write for the requirements and constraints as they are now."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = tomllib.loads((ROOT / "pylock.toml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Extras that are not locked: the numpy that `train` needs is not that of the others.
LEFT_OUT = {"train"}
EXTRAS = PROJECT["optional-dependencies"].keys() - LEFT_OUT
REQUIRED = {text for extra in EXTRAS for text in PROJECT["optional-dependencies"][extra]}
CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"]


def locked(name: str) -> list[str]:
    """The versions of a package: several where the newest is not for every Python or platform."""
    name = canonicalize_name(name)
    return [package["version"] for package in LOCK["packages"] if package["name"] == name]


@pytest.mark.parametrize("text", sorted({*PROJECT["dependencies"], *REQUIRED}))
def test_what_is_required_is_locked(text: str) -> None:
    requirement = Requirement(text)
    versions = locked(requirement.name)
    assert versions, "not locked: run `make lock`"
    assert all(version in requirement.specifier for version in versions), "stale: run `make lock`"


@pytest.mark.parametrize("text", CONSTRAINTS)
def test_constraints_and_lock_agree(text: str) -> None:
    requirement = Requirement(text)
    assert all(version in requirement.specifier for version in locked(requirement.name))


def test_the_lock_is_for_the_same_pythons() -> None:
    assert LOCK["requires-python"] == PROJECT["requires-python"]


def test_every_file_has_a_hash_and_comes_from_pypi() -> None:
    for package in LOCK["packages"]:
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        assert files, package["name"]
        for file in files:
            assert file["url"].startswith("https://files.pythonhosted.org/packages/")
            assert len(file["hashes"]["sha256"]) == 64
