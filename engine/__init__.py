"""The stages from a model to a measured compressed one; see ``engine.pipeline`` for how they meet."""
