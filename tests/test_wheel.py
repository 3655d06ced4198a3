"""The wheel and the sdist: what is in them, that they are always the same, and that the wheel works
where nothing is installed but what it says it needs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec
from vaecodec.cli.main import COMMANDS
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import registry

pytest.importorskip("build", reason="build is not installed")
pytest.importorskip("hatchling", reason="hatchling is not installed")
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NAME = f"vaecodec-{vaecodec.__version__}"
#: What the wheel holds of the tree: all that fits one of these, and nothing else.
SHIPPED = (
    "bitstream/**/*.py",
    "bitstream/py.typed",
    "vaecodec/**/*.py",
    "vaecodec/py.typed",
    "vaecodec/pages/*.html",
    "vaecodec/pages/*.css",
    "vaecodec/pages/*.js",
    "vaecodec/weights/*.json",
    "vaecodec/weights/*.safetensors",
    "vaecodec/weights/embedding/*.safetensors",
    "vaecodec/weights/restoring/*.safetensors",
)
DIST_INFO = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
#: The first level of the sdist.
SOURCES = {
    "bitstream", "vaecodec", "docs", "tests", "tools", "benchmarks", "Makefile", "constraints.txt",
    "pylock.toml", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
    "mkdocs.yml", "LICENSE", ".gitignore", "PKG-INFO",
}  # fmt: skip


def build(out: Path, *what: str, umask: int, **environment: str) -> Path:
    """Both, or what the options say, of the tree as it stands."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *what, str(ROOT)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, umask=umask,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that comes of the sdist."""
    return build(tmp_path_factory.mktemp("dist"), umask=0o022)


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"{NAME}-py3-none-any.whl"


def test_the_wheel_holds_the_packages_and_the_weights_and_nothing_else(wheel: Path) -> None:
    shipped = {pattern: [*ROOT.glob(pattern)] for pattern in SHIPPED}
    assert all(shipped.values())
    files = {path.relative_to(ROOT).as_posix() for paths in shipped.values() for path in paths}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert sorted(names) == sorted(files | {f"{NAME}.dist-info/{name}" for name in DIST_INFO})
        assert all(archive.read(name) == (ROOT / name).read_bytes() for name in files)
        licence = archive.read(f"{NAME}.dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()
    for entry in registry.registered():
        assert f"vaecodec/weights/{entry.path.name}" in names


def test_the_sdist_holds_what_building_and_testing_take(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        within = {name.removeprefix(f"{NAME}/"): file for name, file in files.items()}
        assert {name.split("/")[0] for name in within} == SOURCES
        for name, file in within.items():
            assert name == "PKG-INFO" or file.read() == (ROOT / name).read_bytes()
    assert not [name for name in within if "__pycache__" in name or name.startswith("checkpoints")]


def test_builds_are_the_same_from_the_tree_and_from_the_sdist(built: Path, tmp_path: Path) -> None:
    """The second time both come of the tree, under other settings of the process."""
    again = build(
        tmp_path, "--sdist", "--wheel", umask=0o077, PYTHONHASHSEED="7", TZ="Asia/Tokyo", LC_ALL="C"
    )
    names = sorted(path.name for path in built.iterdir())
    assert names == sorted(path.name for path in again.iterdir()) and len(names) == 2
    for name in names:
        assert (built / name).read_bytes() == (again / name).read_bytes()
    with zipfile.ZipFile(again / f"{NAME}-py3-none-any.whl") as archive:
        assert {info.date_time[:3] for info in archive.infolist()} == {(2023, 11, 14)}


def declared(wheel: Path) -> list[str]:
    """The requirements in its metadata."""
    return metadata.PathDistribution(zipfile.Path(wheel, f"{NAME}.dist-info/")).requires or []


def needed(requirements: Iterable[str]) -> dict[str, metadata.Distribution]:
    """What is installed here for `requirements`, and for what that requires in turn, by name."""
    found: dict[tuple[str, str], metadata.Distribution] = {}
    waiting = [(text, "") for text in requirements]
    while waiting:
        text, of_extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        for extra in ["", *requirement.extras]:
            key = (canonicalize_name(requirement.name), extra)
            if key not in found:
                found[key] = metadata.distribution(requirement.name)
                waiting += [(text, extra) for text in found[key].requires or ()]
    return {name: distribution for (name, _), distribution in found.items()}


class Environment:
    """A virtual environment of the wheel and, as links to what is installed here, of exactly what its
    metadata require, directly or in turn. pip installs the wheel and finds nothing missing."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder)
        self.folder = folder
        paths = {"base": str(folder), "platbase": str(folder)}
        self.site = Path(sysconfig.get_path("purelib", "venv", paths))
        self.commands = Path(sysconfig.get_path("scripts", "venv", paths))
        self.dependencies = needed(declared(wheel))
        link(self.dependencies.values(), self.site)
        self.pip("install", "--quiet", "--no-index", str(wheel))

    def pip(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pip", "--python", str(self.commands / "python"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, here: Path, command: str, *arguments: str) -> tuple[int, str, str]:
        """One of the environment's commands in the folder `here`: exit code, output, errors."""
        environment = {
            "PATH": os.pathsep.join([str(self.commands), os.defpath]),
            "HOME": str(here),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        done = subprocess.run(
            [self.commands / command, *arguments],
            capture_output=True, text=True, check=False, cwd=here, env=environment,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def python(self, here: Path, program: str) -> str:
        """What a program prints; -I keeps the folder and the user's settings out of its modules."""
        code, out, err = self.run(here, "python", "-I", "-c", program)
        assert (code, err) == (0, "")
        return out


def link(distributions: Iterable[metadata.Distribution], site: Path) -> None:
    """Folders of one distribution alone as a whole; others, as of namespace packages, file by file."""
    owners = Counter(top for every in metadata.distributions() for top in first_level(every))
    for distribution in distributions:
        for top, files in first_level(distribution).items():
            for file in [Path(top)] if owners[top] == 1 else files:
                source, target = Path(str(distribution.locate_file(str(file)))), site / file
                if source.exists() and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(source)


def first_level(distribution: metadata.Distribution) -> dict[str, list[Path]]:
    """What a distribution has installed, by the first part of the path; without its commands."""
    found: dict[str, list[Path]] = {}
    for file in distribution.files or ():
        if file.parts[0] != "..":
            found.setdefault(file.parts[0], []).append(Path(file))
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment") / "venv", wheel)


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(environment: Environment, photo_file: Path) -> Call:
    """Run the installed `vaecodec` beside photo.png."""
    return lambda *arguments: environment.run(photo_file.parent, "vaecodec", *arguments)


LIST = """
import importlib.metadata, json
print(json.dumps([d.name for d in importlib.metadata.distributions()]))
"""
IMPORT = """
import importlib, json, pkgutil, sys
absent = {}
for package in ("bitstream", "vaecodec"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        try:
            if module.name != "vaecodec.__main__":
                importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            absent[module.name] = error.name
specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items()}
files = {name: spec.origin for name, spec in specs.items() if spec and spec.has_location}
print(json.dumps([absent, files]))
"""


def test_the_environment_has_what_the_wheel_requires_and_no_more(
    environment: Environment, tmp_path: Path
) -> None:
    assert "No broken requirements" in environment.pip("check")
    listed = map(canonicalize_name, json.loads(environment.python(tmp_path, LIST)))
    assert sorted(listed) == sorted(["vaecodec", *environment.dependencies])
    assert not {"pytest", "scikit-image", "compressai"} & environment.dependencies.keys()


def test_all_modules_are_there_and_need_nothing_that_is_not_declared(
    environment: Environment, tmp_path: Path
) -> None:
    absent, files = json.loads(environment.python(tmp_path, IMPORT))
    for name in absent:
        assert name.startswith(
            ("vaecodec.train.", "vaecodec.bench.", "vaecodec.server", "vaecodec.ray")
        ), absent
    extras = {"compressai", "matplotlib", "bjontegaard", "starlette", "vaecodec.ray"}
    assert set(absent.values()) <= extras
    assert {"vaecodec.codec", "vaecodec.pillow", *(f"vaecodec.cli.{name}" for name in COMMANDS)} <= {
        *files
    }
    standard = sysconfig.get_path("stdlib")
    for name, file in files.items():
        own = file.startswith(str(environment.site))
        assert own or (file.startswith(standard) and "site-packages" not in file), (name, file)


def test_what_is_imported_anywhere_is_required(wheel: Path) -> None:
    """In functions too, of which the other tests run some; what has an extra is left out."""
    provides = metadata.packages_distributions()
    imported = set()
    for package in ("bitstream", "vaecodec"):
        for path in (ROOT / package).rglob("*.py"):
            extra = path.parent.name == "server" or path.name == "serve.py"
            if not extra and path.parent.name not in ("train", "bench", "codecs", "ray"):
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Import):
                        imported |= {alias.name.split(".")[0] for alias in node.names}
                    elif isinstance(node, ast.ImportFrom):
                        imported.add(str(node.module).split(".")[0])
    others = imported - sys.stdlib_module_names - {"bitstream", "vaecodec"}
    requirements = [Requirement(text) for text in declared(wheel)]
    required = {canonicalize_name(one.name) for one in requirements if not one.marker}
    assert {canonicalize_name(name) for top in others for name in provides[top]} == required


def test_help_and_version(call: Call, environment: Environment, tmp_path: Path) -> None:
    code, out, _ = call("--help")
    assert code == 0 and all(f"\n  {name} " in out for name in COMMANDS)
    assert call("--version") == (0, f"vaecodec, version {vaecodec.__version__}\n", "")
    module = environment.run(tmp_path, "python", "-m", "vaecodec", "--version")
    assert module == (0, f"vaecodec, version {vaecodec.__version__}\n", "")


def test_compress_info_and_decompress_with_the_weights_of_both_tunes(
    call: Call, tmp_path: Path, photo: np.ndarray, codec: Codec
) -> None:
    code, out, _ = call("models")
    assert code == 0 and all(entry.name in out for entry in registry.registered())
    for tune in ("visual", "psnr"):
        assert call("compress", "photo.png", "-o", f"{tune}.vae", "--tune", tune)[0] == 0
    assert call("decompress", "visual.vae", "psnr.vae", "-o", "back")[0] == 0
    for tune in ("visual", "psnr"):
        code, out, _ = call("info", f"{tune}.vae", "--json")
        assert (code, json.loads(out)["model"]) == (0, registry.find(None, tune).name)
        decoded = np.asarray(Image.open(tmp_path / "back" / f"{tune}.png"))
        here = np.asarray(codec.decode(tmp_path / f"{tune}.vae"))
        # As much as two decoders may differ (docs/format.md).
        assert np.abs(decoded.astype(int) - here).max() <= 2
        assert psnr(photo, decoded) > 30


PROGRAM = """
import io
import vaecodec, vaecodec.pillow
from PIL import Image

for tune in ("visual", "psnr"):
    data = vaecodec.encode("photo.png", quality=50, tune=tune)
    assert vaecodec.info(data).model == MODELS[tune], vaecodec.info(data)
    image = vaecodec.decode(data)
    assert image.size == Image.open(io.BytesIO(data)).size == (256, 192)
    image.save("saved.vae", quality=50, tune=tune)
    with Image.open("saved.vae") as saved:
        assert saved.format == "VAE"
        saved.save("saved.png")
print(vaecodec.__version__, len(vaecodec.models()), vaecodec.__file__)
"""


def test_python_and_the_pillow_plugin(environment: Environment, photo_file: Path) -> None:
    models = {tune: registry.find(None, tune).name for tune in ("visual", "psnr")}
    out = environment.python(photo_file.parent, f"MODELS = {models}\n{PROGRAM}")
    where = environment.site / "vaecodec" / "__init__.py"
    assert out.split() == [vaecodec.__version__, str(len(registry.registered())), str(where)]
    assert Image.open(photo_file.with_name("saved.png")).size == (256, 192)


def test_bench_measures_and_says_which_extra_is_missing(call: Call) -> None:
    code, out, err = call(
        "bench", "photo.png", "--codecs", "vae,jpeg", "--metrics", "psnr", "--qualities", "40,80",
        "--qualities", "jpeg=40,80",
    )  # fmt: skip
    assert code == 1
    assert err.count("pip install 'vaecodec[bench]'") == 1
    assert all(name in out for name in ("jpeg", "vae")), out
    code, out, err = call("bench", "photo.png", "--codecs", "jpeg", "--metrics", "psnr", "--out", "d")
    assert (code, out, err.count("pip install 'vaecodec[bench]'")) == (2, "", 1)


def test_compare_needs_no_extra(call: Call, tmp_path: Path) -> None:
    code, out, err = call("compare", "photo.png", "-o", "page.html")
    assert (code, err) == (0, "")
    assert "AVIF" in out and (tmp_path / "page.html").stat().st_size > 10_000


def test_serve_says_which_extra_is_missing(call: Call) -> None:
    code, out, err = call("serve")
    assert (code, out) == (2, "")
    assert "pip install 'vaecodec[serve]'" in err


def test_ray_says_which_extra_is_missing(environment: Environment, tmp_path: Path) -> None:
    program = """
try:
    import vaecodec.ray
except ImportError as error:
    print(error)
"""
    assert "pip install 'vaecodec[ray]'" in environment.python(tmp_path, program)


def test_train_says_which_extra_is_missing(call: Call) -> None:
    code, out, err = call("train", ".", "--minutes", "1", "--out", "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'vaecodec[train]'" in err
