"""The unit of sizes."""

from __future__ import annotations

BYTES_PER_PARAM = 2
"""Sizes are shown at float16."""
