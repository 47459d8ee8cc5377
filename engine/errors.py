"""Errors a user can act on: what was given, what was expected, what to do next."""

import textwrap


class RankScopeError(Exception):
    """Base of every deliberate error of the engine; its message is one sentence for the user."""


class ModelError(RankScopeError):
    """A model cannot be opened or holds nothing that can be compressed."""


class UnstreamableError(ModelError):
    """A model's decoder layers cannot be run one at a time, or not with what their files hold."""


class CorpusError(RankScopeError):
    """A text source cannot be read or holds too little text."""


class NumericalError(RankScopeError):
    """A value is not finite or a matrix cannot be factorised; the message names the projection."""


class UnmeasurableError(RankScopeError):
    """A model does not allow one kind of measurement; the others go on."""


class InvalidSpecError(RankScopeError):
    """A setting has a value outside its range."""


class InvalidRankMapError(RankScopeError):
    """A rank map does not fit its schema, its model or its budget."""


class NamedMapError(RankScopeError):
    """A named map cannot be found, read or written, or its name cannot be used."""


class InfeasibleBudgetError(RankScopeError):
    """No allocation fits the budget, or the held ranks alone exceed it."""


class ResourceError(RankScopeError):
    """The machine has too little memory or disk for what was asked."""


class ExportError(RankScopeError):
    """A compressed model cannot be written as a folder, or does not run from it."""


def first_words(error: BaseException) -> str:
    """Return what a foreign exception says first, for use in a sentence."""
    said = textwrap.shorten(str(error), 300, placeholder=" …").rstrip(" .:")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
