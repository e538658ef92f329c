"""Register this project as an Airflow plugin; its code is the package ``recdeploy_ops`` beside this file."""

from airflow.plugins_manager import AirflowPlugin

from recdeploy_ops.ui.lazy_apps import LazyApp
from recdeploy_ops.ui.questions import CurrentQuestions


class RecdeployPlugin(AirflowPlugin):
    """Names the project in ``airflow plugins``, and adds to Airflow's web server."""

    name = "recdeploy"
    fastapi_root_middlewares = [{"middleware": CurrentQuestions, "name": "current questions"}]  # noqa: RUF012 - Airflow's form
    fastapi_apps = [  # noqa: RUF012 - likewise
        {"app": LazyApp("recdeploy_ops.ui.reports"), "url_prefix": "/recdeploy", "name": "recdeploy reports"}
    ]
