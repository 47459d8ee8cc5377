"""The outcome of an analysis, as the dashboard and the allocators read it; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.errors import RankScopeError
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from engine.types import Inventory, Projection, RoundingNats


@dataclass(frozen=True, eq=False)
class Analysis:
    """Spectra, curves and importances of one model on one text.

    Attributes:
        id: fingerprint of the artifact.
        about: model and corpus labels and fingerprints, settings, versions, seconds, peak memory.
        inventory: what was found in the model.
        energies: metric -> block name -> (k,) sigma squared, descending.
        nats: metric -> block name -> (k + 1,) predicted loss increase at rank r, nats per token; only
            for the metrics whose factors are stored.
        importances: projection name -> FLRC importances in the order of :class:`engine.types.Importance`.
        rounding: what rounding blocks is predicted to add; ``None``: it was never asked for.
    """

    id: str
    about: Mapping[str, Any]
    inventory: Inventory
    energies: Mapping[Metric, Mapping[str, NDArray[np.float64]]]
    nats: Mapping[Metric, Mapping[str, NDArray[np.float64]]]
    importances: Mapping[str, NDArray[np.float64]]
    rounding: RoundingNats | None = None

    @cached_property
    def projections(self) -> dict[str, Projection]:
        """Projections by name."""
        return self.inventory.by_name

    @property
    def calibration_nll(self) -> float:
        """The dense model's mean negative log-likelihood on the calibration text, nats per token."""
        return float(self.about["calibration_nll"])

    @property
    def default_metric(self) -> Metric:
        """Loss if its factors are stored, or else the first metric whose factors are."""
        return Metric.LOSS if Metric.LOSS in self.nats else next(iter(self.nats), Metric.LOSS)

    def require_factors(self, metric: Metric) -> None:
        """Raise a sentence unless this analysis stored factors in ``metric``."""
        if metric not in self.nats:
            have = ", ".join(self.nats)
            raise RankScopeError(
                f"This analysis stored factors for the metrics {have}, but {metric} was asked for; analyse again "
                f"with --metrics {','.join([*self.nats, metric])}."
            )
