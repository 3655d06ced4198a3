"""tools/release.py, in a repository of its own: what it makes, and the sentence at which it stops."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "vaecodec"
dynamic = ["version"]
readme = "README.md"
requires-python = ">=3.11"
[project.urls]
Source = "https://example.org/vaecodec"
[tool.hatch.version]
path = "vaecodec/__init__.py"
"""
CHECKS = "test test-lowest:\n\t@echo checked $@ $$VAECODEC_NO_SKIPS\n"
FILES = ("vaecodec-1.2.3-py3-none-any.whl", "vaecodec-1.2.3.tar.gz")

for command in ("git", "make"):
    if shutil.which(command) is None:
        pytest.skip(f"there is no {command}", allow_module_level=True)
for module in ("build", "hatchling", "twine"):
    pytest.importorskip(module, reason=f"{module} is not installed")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's settings of git nor, in a hook, the repository that it runs for."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@example.org")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", f"{name} changes")


@pytest.fixture
def tree(tmp_path: Path, settings: None) -> Path:
    """A project that could be released as 1.2.3."""
    folder = tmp_path / "tree"
    (folder / "vaecodec").mkdir(parents=True)
    (folder / "vaecodec" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "README.md").write_text("# A codec\n")
    (folder / "Makefile").write_text(CHECKS)
    (folder / ".gitignore").write_text("dist/\n")
    (folder / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-01-31)\n\n- News.\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "All")
    return folder


def release(folder: Path, version: str = "1.2.3") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "release.py", version]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def stops(folder: Path, sentence: str, version: str = "1.2.3") -> None:
    """That is the last word, and there is no tag."""
    tags = git(folder, "tag")
    done = release(folder, version)
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]
    assert git(folder, "tag") == tags


def test_a_release(tree: Path) -> None:
    done = release(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    for check in ("test", "test-lowest"):
        assert f"checked {check} 1\n" in done.stdout
    assert sorted(path.name for path in (tree / "dist").iterdir()) == list(FILES)
    for name in FILES:
        file = tree / "dist" / name
        assert f"{hashlib.sha256(file.read_bytes()).hexdigest()}  dist/{name}\n" in done.stdout
    assert git(tree, "cat-file", "-t", "v1.2.3") == "tag"
    assert git(tree, "rev-parse", "v1.2.3^{commit}") == git(tree, "rev-parse", "main")
    assert done.stdout.splitlines()[-2:] == [
        "    git push origin main v1.2.3",
        f"    twine upload dist/{FILES[0]} dist/{FILES[1]}",
    ]
    stops(tree, "the tag v1.2.3 exists already")


def test_a_project_that_says_not_where_it_is(tree: Path) -> None:
    write(tree, "pyproject.toml", re.sub(r"\[project\.urls\]\n.*\n", "", PROJECT))
    stops(tree, "pyproject.toml has no [project.urls]")


def test_versions_that_do_not_agree(tree: Path) -> None:
    stops(tree, "'1.2' is no version like 1.2.3 or 1.2.3rc1", "1.2")
    stops(tree, "vaecodec/__init__.py says 1.2.3, not 1.3.0", "1.3.0")
    write(tree, "vaecodec/__init__.py", "")
    stops(tree, "vaecodec/__init__.py says no version, not 1.2.3")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "## 1.2.3 (unreleased)\n\n- News.\n",
            "begins with '1.2.3 (unreleased)', not with '1.2.3 (YYYY-MM-DD)'",
        ),
        ("## 1.2.2 (2026-01-31)\n\n- News.\n", "begins with '1.2.2 (2026-01-31)'"),
        ("# Changelog\n", "begins with 'nothing'"),
        ("## 1.2.3 (2026-01-31)\n\n## 1.2.2 (2025-01-31)\n\n- News.\n", "says nothing about 1.2.3"),
    ],
)
def test_a_changelog_that_does_not_speak_of_it(tree: Path, text: str, sentence: str) -> None:
    write(tree, "CHANGELOG.md", text)
    stops(tree, sentence)


def test_a_tree_that_is_not_as_committed_or_of_another_branch(tree: Path) -> None:
    (tree / "notes.txt").touch()
    stops(tree, "1 files differ from the commit: notes.txt ...")
    (tree / "notes.txt").unlink()
    git(tree, "switch", "-q", "-c", "next")
    stops(tree, "a release is made on main, not on next")
    git(tree, "switch", "-q", "--detach")
    stops(tree, "a release is made on main, not on a detached head")


def test_checks_that_fail(tree: Path) -> None:
    write(tree, "Makefile", "test-lowest:\n\t@false\ntest:\n")
    stops(tree, "make test-lowest failed")
    write(tree, "Makefile", "test:\n\t@false\n")
    stops(tree, "make test failed")


def test_checks_that_change_the_tree(tree: Path) -> None:
    write(tree, "Makefile", CHECKS + "\t@echo >> README.md\n")
    stops(tree, "1 files differ from the commit: README.md ...")


def test_packages_that_cannot_be_built_or_shown(tree: Path) -> None:
    write(tree, "pyproject.toml", PROJECT.replace('readme = "README.md"', 'readme = "absent.md"'))
    stops(tree, "the package cannot be built")
    write(tree, "pyproject.toml", PROJECT.replace('"README.md"', '"README.rst"'))
    write(tree, "README.rst", "A codec\n=\n\n.. nonesuch::\n")
    stops(tree, "what PyPI would show is not well-formed")


def test_builds_that_differ(tree: Path) -> None:
    hook = "[tool.hatch.build.targets.wheel.hooks.custom]\n"
    write(tree, "pyproject.toml", PROJECT + hook)
    write(tree, "hatch_build.py", HOOK)
    stops(tree, "vaecodec-1.2.3-py3-none-any.whl differs when it is built again")


#: Puts another file into each wheel.
HOOK = """
import tempfile
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(file.name.encode())
        build_data["force_include"][file.name] = "vaecodec/changing.txt"
"""
