"""A shop that was made with a deployment manager of the guide's kind: its state file, backups, models, deployments."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from steps.factories import PRODUCTS, USERS, deploy_foreign, register_foreign

from recdeploy_ops.storage.keys import STATE_FILE

TEMPLATE = Path(__file__).parents[2] / "include" / "score_template"
SCORE = """
LISTS = {lists!r}


def load_model():
    return LISTS


def predict(data, model=None):
    user = data.get("user_id")
    return {{"user_id": user, "recommendations": (model or LISTS).get(user, [])[: data.get("top_k", 10)]}}
"""


class OldShop:
    """Makes what such a manager leaves, in storage and in OCI.

    Args:
        context: of a storage without a ledger.
        emulator: of OCI.
        folder: for the artifacts.
    """

    def __init__(self, context, emulator, folder):
        self.context, self.emulator, self.folder = context, emulator, folder / "their artifacts"
        self.models = {}

    def make_artifact(self, version):
        """Write an artifact with their score.py, whose lists have `score` and depend on the version."""
        folder = self.folder / f"v{version}"
        folder.mkdir(parents=True)
        ranked = {user: PRODUCTS[n:] + PRODUCTS[:n] for n, user in enumerate(USERS, start=version)}
        lists = {user: [{"product_id": item, "score": 5.0} for item in items] for user, items in ranked.items()}
        (folder / "score.py").write_text(SCORE.format(lists=lists), encoding="utf-8")
        (folder / "recommender_model.pkl").write_bytes(b"pickled lists")
        shutil.copy(TEMPLATE / "runtime.yaml", folder)
        return folder

    def register(self, version):
        """Register a version as `Product Recommender vN (TEST)`, without tags."""
        name = f"Product Recommender v{version} (TEST)"
        self.models[version] = register_foreign(self.context, self.make_artifact(version), name)
        return self.models[version]

    def deploy(self, version, model_version=None):
        """Deploy a version under the name that their test deployments have; return the OCID."""
        model_id = self.models[model_version or version]
        return deploy_foreign(self.context, self.emulator, model_id, f"Product Recommender API v{version} (TEST)")

    def back_up(self, version, day, *, model_id=None, deployment_id="", names=("score.py", "recommender_model.pkl")):
        """Store a backup folder as theirs: artifact, results and metadata, without a manifest; return its name."""
        name = f"v{version}_202611{day:02d}_180119"
        source = self.folder / f"v{version}"
        source = source if source.exists() else self.make_artifact(version)
        for file in (*names, "runtime.yaml"):
            self.put(f"{name}/recommender_model_artifact/{file}", (source / file).read_bytes())
        self.put(f"{name}/results/recommendations.csv", b"user_id,product_id,score\nu,p,1.0\n")
        metadata = {"version": version, "model_id": model_id, "deployment_id": deployment_id}
        self.put(f"{name}/metadata.json", json.dumps(metadata).encode())
        return name

    def put(self, name, content):
        self.context.store.replace(f"backups/{name}", content)

    def write_state(self, production, version, *, test=None, history=()):
        """Write their deployment_state.json."""
        state = {
            "current_version": version,
            "deployment_history": [
                {"version": number, "model_id": self.models[number], "timestamp": "2026-11-01"} for number in history
            ],
            "production_deployment": {
                "deployment_id": production,
                "model_id": self.models[version],
                "version": version,
                "endpoint": f"https://old/{production}",
            },
            "test_deployment": {"deployment_id": test, "version": version} if test else None,
        }
        self.context.store.replace(STATE_FILE, json.dumps(state).encode())

    def make(self):
        """Make a shop whose production was v1's test deployment and serves v2; return production's OCID."""
        for version in (1, 2):
            self.register(version)
        production = self.deploy(1, 2)
        self.back_up(1, 20, model_id=self.models[1], deployment_id=production)
        self.write_state(production, 2, history=(1, 2))
        return production
