"""JavaScript modules as the single script that Streamlit takes per component."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def joined_script(*modules: Path) -> str:
    """Return modules as one script: imports between them fall away.

    Each module imports only from modules before it, and only the last has a default export.
    """
    sources = [module.read_text(encoding="utf-8") for module in modules]
    without_imports = [re.sub(r"^import .*\n", "", source, flags=re.MULTILINE) for source in sources]
    before = [re.sub(r"^export ", "", source, flags=re.MULTILINE) for source in without_imports[:-1]]
    return "\n".join([*before, without_imports[-1]])
