"""The pages: one module and one ``render()`` each."""
