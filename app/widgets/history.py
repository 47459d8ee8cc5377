"""The browser's history: one entry per page with its whole address, so that back leads to what was there."""

from __future__ import annotations

from typing import Final

import streamlit as st

_SCRIPT: Final = """
<script>
if (!window.rankscopeHistory) {
  window.rankscopeHistory = true;
  const push = history.pushState.bind(history);
  const replace = history.replaceState.bind(history);
  let left = null;
  history.pushState = (state, title, url) => {
    const next = new URL(url ?? location.href, location.href);
    if (next.pathname === location.pathname) {
      if (location.search && !next.search) left = {href: location.href, at: performance.now()};
      replace(state, title, url);
    } else {
      if (left && performance.now() - left.at < 5000) replace(history.state, "", left.href);
      left = null;
      push(state, title, url);
    }
  };
}
</script>
"""


def keep_history_tidy() -> None:
    """Let a change of the address within a page replace its entry, and a page that is left keep its address.

    Streamlit adds an entry for every change. As pages complete their own address, going back would lead to an
    incomplete address, which is completed at once, and never any further. It also empties the address of a page
    before it leaves it, so that going back would lose the budget.
    """
    st.html(_SCRIPT, unsafe_allow_javascript=True)
