"""Register this project as an Airflow plugin; its code is the package ``recdeploy_ops`` beside this file."""

from airflow.plugins_manager import AirflowPlugin

from recdeploy_ops.ui.answers import OneAnswer
from recdeploy_ops.ui.lazy_apps import LazyApp
from recdeploy_ops.ui.origins import SameOrigin
from recdeploy_ops.ui.questions import CurrentQuestions
from recdeploy_ops.ui.static import PAGE


class RecdeployPlugin(AirflowPlugin):
    """Names the project in ``airflow plugins``, and adds to Airflow's web server."""

    name = "recdeploy"
    fastapi_root_middlewares = [  # noqa: RUF012 - Airflow's form
        {"middleware": CurrentQuestions, "name": "current questions"},
        {"middleware": SameOrigin, "name": "same origin"},
        {"middleware": OneAnswer, "name": "one answer"},
    ]
    fastapi_apps = [  # noqa: RUF012 - likewise
        {"app": LazyApp("recdeploy_ops.ui.web"), "url_prefix": "/recdeploy", "name": "recdeploy"}
    ]
    react_apps = [  # noqa: RUF012 - likewise; Airflow's UI keeps each under its name as a global
        {
            "name": "Recommender",
            "bundle_url": PAGE,
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "recommender",
        },
        {
            "name": "Recommender release",
            "bundle_url": PAGE,
            "destination": "dag_run",
            "url_route": "recommender-release",
        },
    ]
