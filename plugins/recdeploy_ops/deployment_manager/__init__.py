"""The guide's deployment manager for notebooks: its methods run the same steps as the Airflow operators."""

from recdeploy_ops.deployment_manager.backup_lists import print_backups
from recdeploy_ops.deployment_manager.endpoints import ModelDeployment
from recdeploy_ops.deployment_manager.managers import RecommenderDeploymentManager
from recdeploy_ops.domain.errors import CellOrderError

__all__ = ["CellOrderError", "ModelDeployment", "RecommenderDeploymentManager", "print_backups"]
