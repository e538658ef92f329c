"""Airflow's registration of this project; its code is the package ``recdeploy_ops`` beside this file."""

from airflow.plugins_manager import AirflowPlugin


class RecdeployPlugin(AirflowPlugin):
    """Names the project in ``airflow plugins``."""

    name = "recdeploy"
