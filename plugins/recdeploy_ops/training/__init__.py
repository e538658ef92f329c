"""Training by the ADS recommender operator, in a separate process whose outputs are verified."""

from recdeploy_ops.training.runs import train

__all__ = ["train"]
