"""Register this project as an Airflow plugin; its code is the package ``recdeploy_ops`` beside this file."""

from airflow.plugins_manager import AirflowPlugin

from recdeploy_ops.ui.questions import CurrentQuestions


class RecdeployPlugin(AirflowPlugin):
    """Names the project in ``airflow plugins``."""

    name = "recdeploy"
    fastapi_root_middlewares = [{"middleware": CurrentQuestions, "name": "current questions"}]  # noqa: RUF012 - Airflow's form
