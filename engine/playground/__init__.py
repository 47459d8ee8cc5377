"""Two models answer the same prompt: a host process with the models, and what the dashboard talks to it through."""

from engine.playground.answers import SIDES, Answer, AnswerStatus, Side
from engine.playground.client import Playground
from engine.playground.questions import MapChoice, ProgressiveChoice, Question

__all__ = ["SIDES", "Answer", "AnswerStatus", "MapChoice", "Playground", "ProgressiveChoice", "Question", "Side"]
