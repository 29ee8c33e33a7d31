"""Soak: what only `make soak` runs, since it takes long and a shorter case holds the mechanism."""

from __future__ import annotations

import os
from typing import Final

SOAK: Final = os.environ.get("INTERLOOM_SOAK") == "1"
