"""Training by the ADS recommender operator, in a process of its own whose outputs are checked."""

from recdeploy_ops.training.runs import train

__all__ = ["train"]
