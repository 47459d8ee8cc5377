"""Bayesian allocation: a small space of kept fractions, searched by measuring the compressed model.

``space`` and ``goals`` are free of torch and of Optuna.

References:
    Bolaco, arXiv:2405.10616.
"""
