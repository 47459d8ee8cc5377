"""Parts of an evaluation, each stored by itself as soon as it is measured."""
