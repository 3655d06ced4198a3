# One command each; nothing but Python 3.11+ and make is needed beforehand.
PYTHON ?= python3
IMAGES ?=
INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint bench clean

# The stamps are older than pyproject.toml when dependencies changed.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(INSTALL) -e '.[bench,test,lint]'
	@touch $@

# compressai pins numpy below 2, so training has an environment of its own.
.venv-train/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python $(INSTALL) -e '.[train,bench,test]'
	@touch $@

# Compress a real photograph (or IMAGES="a.jpg b.png"), decompress it, compare with JPEG.
demo: .venv/installed
	.venv/bin/python tools/demo.py $(IMAGES)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# All tests, with numpy 2 and without the train extra; then again with it and numpy 1.26.
test: lint .venv-train/installed
	.venv/bin/python -m pytest
	.venv-train/bin/python -m pytest

# Speeds, and rate and distortion on two photographs of scikit-image's; both in a short form.
BUNDLED = $$(.venv-train/bin/python -c 'import skimage; print(skimage.__path__[0])')/data
bench: .venv-train/installed
	.venv-train/bin/python -m pytest benchmarks --benchmark-enable --benchmark-columns=median,ops
	.venv-train/bin/vaecodec bench $(BUNDLED)/astronaut.png $(BUNDLED)/coffee.png --out bench-out \
		--codecs vae,jpeg,webp,avif,jxl --metrics psnr,ms-ssim,ssimulacra2 --qualities 5,20,40,60,80,100

clean:
	rm -rf .venv .venv-train demo-out bench-out build dist
