"""The guide's cells as the tests of the deployment manager run them."""

from __future__ import annotations

from shops import source_of
from steps.factories import Run, shop

from recdeploy_ops.domain.events import ModelTrained


def run_cell(code, names):
    """Run a cell's code as a kernel does, in the namespace that the cells share."""
    exec(compile(code, "a cell", "exec"), names)  # noqa: S102 - the code stands in this project's documents


class Cells:
    """The guide's cells, with results made by hand instead of trained."""

    def __init__(self, manager, folder, *, shift=0):
        self.manager, self.folder, self.shift = manager, folder, shift
        if not (folder / "shop.db").exists():
            shop(folder)

    def prepare(self):
        self.version = self.manager.get_next_version()
        self.backup = self.manager.backup_current_artifacts(self.manager.current_version)

    def train(self, **how):
        rows = self.manager.extract_data(source_of(self.folder / "shop.db"), **how)
        self.users, self.products = rows["users"], rows["items"]
        own = self.manager._session.own()
        Run(self.manager.context, own.run_id, self.folder, shift=self.shift, top_k=own.retrain_params.top_k).train()
        self.manager._fetch(ModelTrained, self.manager.results_dir)
        self.model = self.manager.build_artifact()

    def save(self, **how):
        self.model_id = self.manager.save_new_model(self.model, self.version, self.users, self.products, **how)
        return self.model_id

    def deploy(self, **how):
        self.test = self.manager.deploy_model(self.model, self.model_id, self.version, **how)
        return self.test

    def until_trained(self):
        self.prepare()
        self.train()

    def until_saved(self):
        self.until_trained()
        self.save()

    def until_test(self):
        self.until_saved()
        return self.deploy()

    def release(self):
        self.until_test()
        return self.manager.promote_to_production(self.test.model_deployment_id)


def newest_release(manager):
    """Return the release of the kernel's newest run, as the ledger has it."""
    return manager.context.refresh().releases[manager._session.newest().run_id]
