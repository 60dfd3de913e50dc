"""A short name for everything that a result depends on."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(*facts: Any) -> str:
    """Sixteen hexadecimal digits that differ where the facts do; facts must be JSON or have a stable repr."""
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
