"""Where VAECODEC_NO_SKIPS is set, a test that cannot run fails."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_runs(): pass

def test_skips(): pytest.skip("no browser")

@pytest.mark.skipif(True, reason="no extra")
def test_is_marked(): pass

@pytest.fixture
def absent(): pytest.importorskip("nonesuch")

def test_of_what_is_absent(absent): pass

@pytest.mark.xfail
def test_is_known_to_fail(): assert False

@pytest.mark.gpu
def test_of_a_gpu(): pytest.skip("not the kind of GPU that this needs")
"""
MODULE = "import pytest; pytest.importorskip('nonesuch')"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """The tests above and a module that skips as it is imported, under this suite's conftest.py."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = gpu")
    pytester.makepyfile(test_some=TESTS, test_module=MODULE)
    return pytester


def test_skips_are_allowed(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAECODEC_NO_SKIPS", raising=False)
    suite.runpytest().assert_outcomes(passed=1, skipped=5, xfailed=1)


def test_skips_are_forbidden(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAECODEC_NO_SKIPS", "1")
    done = suite.runpytest("--continue-on-collection-errors", "-rfE")
    done.assert_outcomes(passed=1, failed=1, errors=3, skipped=1, xfailed=1)
    done.stdout.fnmatch_lines(["*test_some.py:5: *no browser*VAECODEC_NO_SKIPS forbids that"])
