"""Assemble a template, styles, scripts and data into one HTML file, which loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
#: What all pages share; it comes before a page's own.
STYLES, SCRIPTS = ("style.css",), ("elements.js", "viewer.js", "versions.js")


@dataclass(frozen=True, kw_only=True)
class Page:
    """`html`: the file. `policy`: a Content-Security-Policy under which it works, and can load or send
    nothing unless the policy is extended."""

    html: bytes
    policy: str


def assemble(name: str, data: Mapping[str, object]) -> Page:
    """Build the page of template `name`.html, with its style and script. `data`: id of an element ->
    the value it holds as JSON."""
    style = "".join(_read(file) for file in (*STYLES, *_own(name, ".css")))
    script = '"use strict";\n' + "".join(_read(file) for file in (*SCRIPTS, *_own(name, ".js")))
    blocks = "".join(
        f'<script type="application/json" id="{key}">{_embed(value)}</script>\n'
        for key, value in data.items()
    )
    head, rest = _read(f"{name}.html").split("<!-- STYLE -->")
    body, tail = rest.split("<!-- SCRIPT -->")
    html = f"{head}<style>{style}</style>{body}{blocks}<script>{script}</script>{tail}"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Page(html=html.encode(), policy=policy)


def _own(name: str, extension: str) -> tuple[str, ...]:
    return tuple(file.name for file in FOLDER.glob(f"{name}{extension}"))


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _embed(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
