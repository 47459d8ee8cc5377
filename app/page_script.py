"""What every page runs before Streamlit's own script."""

from __future__ import annotations

from typing import Final

SCRIPT: Final = b"""<script>
/* Streamlit would look for its server below the page's own name first. */
window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href };
/* It keeps the chosen theme for the page that was opened only, and a browser may refuse to keep anything. */
try {
  const [own, all] = [`stActiveTheme-${location.pathname}-v2`, "rankscope.theme"];
  const copy = (from, to) => {
    const theme = localStorage.getItem(from);
    if (theme === null) localStorage.removeItem(to);
    else localStorage.setItem(to, theme);
  };
  copy(all, own);
  addEventListener("pagehide", () => copy(own, all));
} catch {}
</script>
"""
