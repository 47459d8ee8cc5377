"""Single files that appear in one step."""

import os
import secrets
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_in_one_step(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Create or replace a file in an existing folder; whoever reads sees all of the old or all of the new content.

    What a killed writer leaves beside it ends in ``.partial``.

    Args:
        path: the file.
        content: of the file.
        mode: who may do what with it, less what the process's mask forbids.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    try:
        partial.touch(mode)
        partial.write_bytes(content)
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)
