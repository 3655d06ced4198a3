"""Make a release, except for the upload; docs/releasing.md says what comes before and after.

    python tools/release.py VERSION

Stops with one sentence at the first step that fails. The built files are in dist/; the tag stays local.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

BRANCH = "main"
DIST = Path("dist")
#: Lint, types and all tests, none of which may be skipped; and tests with the lowest versions allowed.
CHECKS = ("test", "test-lowest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("version", help="as vaecodec/__init__.py and CHANGELOG.md have it")
    version = parser.parse_args().version
    tag = f"v{version}"
    check_version(Path(), version)
    check_changelog(Path(), version)
    check_address(Path())
    check_tree(tag)
    commit = git("rev-parse", "HEAD")
    for target in CHECKS:
        say(f"make {target}")
        run(["make", target], f"make {target} failed", VAECODEC_NO_SKIPS="1")
    check_tree(tag)
    files = build()
    say("twine check")
    run(["twine", "check", "--strict", *map(str, files)], "what PyPI would show is not well-formed")
    if git("rev-parse", "HEAD") != commit:
        raise SystemExit("the commit changed while it was tested")
    run(["git", "tag", "--annotate", tag, "--message", f"vaecodec {version}"], "git cannot set the tag")
    for file in files:
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}")
    say(f"tagged {tag}, {commit}; what is left:")
    print(f"    git push origin {BRANCH} {tag}")
    print(f"    twine upload {' '.join(map(str, files))}")


def check_version(root: Path, version: str) -> None:
    """Check that the package has this version."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise SystemExit(f"{version!r} is no version like 1.2.3 or 1.2.3rc1")
    source = (root / "vaecodec" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.*)"$', source, re.M)
    if found is None or found[1] != version:
        says = "no version" if found is None else found[1]
        raise SystemExit(f"vaecodec/__init__.py says {says}, not {version}")


def check_changelog(root: Path, version: str) -> None:
    """Check that the newest section is for this version, has a date, and is not empty."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", text, re.M)
    title, body = sections[0] if sections else ("nothing", "")
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", title):
        raise SystemExit(f"CHANGELOG.md begins with {title!r}, not with '{version} (YYYY-MM-DD)'")
    if not body.strip():
        raise SystemExit(f"CHANGELOG.md says nothing about {version}")


def check_address(root: Path) -> None:
    """Check that pyproject.toml says where the repository is."""
    with (root / "pyproject.toml").open("rb") as file:
        urls = tomllib.load(file)["project"].get("urls", {})
    if not urls:
        raise SystemExit("pyproject.toml has no [project.urls] to say where the repository is")


def check_tree(tag: str) -> None:
    """Check that the branch to release from is checked out, with no changes, and not yet tagged."""
    if (branch := git("branch", "--show-current")) != BRANCH:
        raise SystemExit(f"a release is made on {BRANCH}, not on {branch or 'a detached head'}")
    if changed := git("status", "--porcelain").splitlines():
        raise SystemExit(f"{len(changed)} files differ from the commit: {changed[0].split()[-1]} ...")
    if git("tag", "--list", tag):
        raise SystemExit(f"the tag {tag} exists already")


def build() -> list[Path]:
    """Build the sdist, and the wheel from it, in an empty dist/. Built twice: anyone who builds the
    same commit, with the versions of constraints.txt, must get the same hashes."""
    say("build, twice")
    if DIST.exists():
        shutil.rmtree(DIST)
    with tempfile.TemporaryDirectory() as again:
        for folder in (str(DIST), again):
            run(
                [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder],
                "the package cannot be built",
                SOURCE_DATE_EPOCH=git("log", "-1", "--format=%ct"),
            )
        files = sorted(DIST.iterdir())
        for file in files:
            if file.read_bytes() != Path(again, file.name).read_bytes():
                raise SystemExit(f"{file.name} differs when it is built again")
    return files


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def run(command: list[str], otherwise: str, **environment: str) -> None:
    """Run a step, with this environment's commands on the path; its output is shown."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(command, check=False, env={**os.environ, "PATH": path, **environment})
    if done.returncode:
        raise SystemExit(otherwise)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    main()
