"""The page: its files, put together with the run's data into one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

STYLES = ("base", "overview", "units", "maps", "print")
SCRIPTS = (  # joined in this order to one script
    "data", "dom", "route", "pictures", "sample", "actions", "chart", "overview", "facts", "wall", "panel", "partners",
    "pair", "pairs", "groups", "matrix", "clusters", "main",
)  # fmt: skip


def files() -> dict[str, str]:
    """The parts of the page as they stand in the package: ``html``, ``style`` and ``script``."""
    folder = resources.files("raycv.stages.report").joinpath("page")

    def text(name: str) -> str:
        return folder.joinpath(name).read_text("utf-8")

    return {
        "html": text("page.html"),
        "style": "\n".join(text(f"{name}.css") for name in STYLES),
        "script": "\n".join(text(f"{name}.js") for name in SCRIPTS),
    }


def filled(page: Mapping[str, str], title: str, figures: str, data: list[str]) -> bytes:
    """The file. ``page``: of `files`; ``figures``: markup; ``data``: elements of `embedded` and `sheet`."""
    places = {
        "title": escape(title),
        "style": page["style"],
        "script": page["script"],
        "policy": _policy(page["style"], page["script"]),
        "figures": figures,
        "data": "\n".join(data),
    }
    return Template(page["html"]).substitute(places).encode()


def embedded(name: str, content: Any) -> str:
    """An element with ``content`` as JSON. Names in it come from the run, and none can end the element."""
    # Inside a script element only "<" could end it or open a comment.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def sheet(name: str, content: bytes) -> str:
    """An element with a picture, which the page decodes when it is first needed."""
    return f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode()}</script>'


def _policy(style: str, script: str) -> str:
    """A content security policy: nothing is loaded from anywhere, and no other script runs."""

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; img-src data:; style-src {hashed(style)}; script-src {hashed(script)}"
