"""Make a compressed model better at the ranks it has: in closed form layer by layer, or by distillation."""

from engine.refinement.closed_form import LeftCorrection
from engine.refinement.distillation import N_CHECKS, Checkpoint, Distillation
from engine.refinement.sweep import improve_layer_by_layer

__all__ = ["N_CHECKS", "Checkpoint", "Distillation", "LeftCorrection", "improve_layer_by_layer"]
