"""Make a compressed model better at the ranks it has: in closed form, or by training layer by layer."""

from engine.refinement.closed_form import LeftCorrection
from engine.refinement.sweep import improve_layer_by_layer
from engine.refinement.training import train_layer

__all__ = ["LeftCorrection", "improve_layer_by_layer", "train_layer"]
