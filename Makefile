# One command per task; they need only Python 3.11+ and make.
PYTHON ?= python3
IMAGES ?=
# Number of tests that run at a time, each in one thread.
JOBS ?= 2
INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Without its dependencies (torchvision and others), which pictures do not need.
CVVDP = $(INSTALL) --no-deps cvvdp tqdm

.PHONY: demo test environments test-lowest lint docs bench lock release clean

# A stamp that is older than pyproject.toml means that dependencies have changed.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(INSTALL) -e '.[bench,data,docs,ray,serve,test,lint,release]'
	.venv/bin/python $(CVVDP)
	@touch $@

# compressai pins numpy below 2, so training has an environment of its own.
.venv-train/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python $(INSTALL) -e '.[train,bench,test]'
	.venv-train/bin/python $(CVVDP)
	@touch $@

# The lowest versions that pyproject.toml allows at run time: several GB, as PyPI's torch comes with CUDA.
.venv-lowest/installed: .venv/installed
	$(PYTHON) -m venv .venv-lowest
	.venv/bin/uv pip compile --quiet --python .venv-lowest --resolution lowest-direct pyproject.toml \
		> .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		-c .venv-lowest/lowest.txt -e '.[test]'
	@touch $@

# Compress a real photograph (or IMAGES="a.jpg b.png"), decompress it, compare with JPEG.
demo: .venv/installed
	.venv/bin/python tools/demo.py $(IMAGES)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# The documentation as a site, in site/; a broken link is an error (unless with --quiet).
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/installed
	.venv/bin/mkdocs build --strict

# All tests with numpy 2, except those that need the train extra. Then those, with the extra and numpy
# 1.26, and the tests that would show if the codec itself failed with that numpy.
CORE = tests/test_codec.py tests/test_entropy.py tests/test_golden.py tests/test_pictures.py
test: export OMP_NUM_THREADS = 1
test: environments
	$(MAKE) --no-print-directory lint
	.venv/bin/python -m pytest -n $(JOBS) --ignore tests/train
	.venv-train/bin/python -m pytest -n $(JOBS) tests/train $(CORE) -k "not reference_decoder"

# Both at a time.
environments:
	$(MAKE) --no-print-directory -j2 .venv/installed .venv-train/installed

# Before a release: tests that need another extra are skipped.
test-lowest: export OMP_NUM_THREADS = 1
test-lowest: export VAECODEC_NO_SKIPS =
test-lowest: .venv-lowest/installed
	.venv-lowest/bin/python -m pytest -n $(JOBS) --ignore tests/train

# Lock versions and hashes of everything installed at run time and with the extras, for all platforms;
# except `train`, which needs another numpy.
lock: .venv/installed
	.venv/bin/uv pip compile --quiet --universal --upgrade -c constraints.txt pyproject.toml -o pylock.toml \
		--extra bench --extra data --extra ray --extra serve --extra docs --extra test --extra lint --extra release --custom-compile-command 'make lock'

# Everything in a release except the upload: make release VERSION=1.2.3 (docs/releasing.md).
release: .venv/installed
	.venv/bin/python tools/release.py $(VERSION)

# Speed, and rate and distortion on two photographs that scikit-image bundles; both in a short form.
BUNDLED = $$(.venv-train/bin/python -c 'import skimage; print(skimage.__path__[0])')/data
bench: .venv-train/installed
	.venv-train/bin/python -m pytest benchmarks --benchmark-enable --benchmark-columns=median,ops
	.venv-train/bin/vaecodec bench $(BUNDLED)/astronaut.png $(BUNDLED)/coffee.png --out bench-out \
		--codecs vae,jpeg,webp,avif,jxl --metrics psnr,ms-ssim,ssimulacra2 --qualities 5,20,40,60,80,100

clean:
	rm -rf .venv .venv-train .venv-lowest demo-out bench-out site build dist
