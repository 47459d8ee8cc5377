"""What every page runs before Streamlit's own script."""

from __future__ import annotations

from typing import Final

SCRIPT: Final = b"""<script>
/* Streamlit would look for its server below the page's own name first. */
window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href };
</script>
"""
