"""Metrics as people read them; files keep the numbers."""

import math
from collections.abc import Mapping

NO_GROUND_TRUTH = "n/a (no ground truth)"


def metric_text(value: float, decimals: int = 4) -> str:
    """A metric as text: TFOD's NaN (Pascal) and -1 (COCO) mean that there was nothing to find.

    >>> metric_text(0.5), metric_text(float("nan")), metric_text(-1.0)
    ('0.5000', 'n/a (no ground truth)', 'n/a (no ground truth)')
    """
    return NO_GROUND_TRUTH if math.isnan(value) or value == -1 else f"{value:.{decimals}f}"


def metrics_table(metrics: Mapping[str, float]) -> str:
    """One line per metric, names left, numbers aligned."""
    width = max(map(len, metrics), default=0)
    return "\n".join(f"  {name:<{width}}  {metric_text(value)}" for name, value in metrics.items())
