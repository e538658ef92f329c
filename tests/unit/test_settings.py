"""include/recommender.yaml: the committed values, and the errors of bad ones."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.freezes import Repeats
from recdeploy_ops.domain.messages import MessageKind
from recdeploy_ops.domain.records import Autoscaling
from recdeploy_ops.domain.retention import RetentionPolicy
from recdeploy_ops.domain.savings import Prices
from recdeploy_ops.domain.sizes import NO_REQUEST, SizeRequest
from recdeploy_ops.settings import (
    DEFAULT_PATH,
    SETTINGS_VARIABLE,
    GateSettings,
    ProbeSettings,
    RetentionSettings,
    WatchSettings,
    load_settings,
)

ROOT = Path(__file__).parents[2]
MAIL = {"notifier": "smtp", "arguments": {"to": "team@example.com"}}
SCALED = {"minimum": 2, "maximum": 6, "initial": 3}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the committed settings with one change; a dot in its name separates sections."""

    def write(name=None, value=None) -> Path:
        values = yaml.safe_load(DEFAULT_PATH.read_text())
        if name:
            *sections, last = name.split(".")
            section = values
            for part in sections:
                section = section[part]
            section[last] = value
        path = tmp_path / "recommender.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_the_committed_file_is_valid_and_its_queries_are_there():
    settings = load_settings(DEFAULT_PATH)

    assert {path.name for path in settings.sql_folder.glob("*.sql")} == {"interactions.sql", "users.sql", "items.sql"}


@pytest.mark.parametrize("probes", [load_settings(DEFAULT_PATH).probes, ProbeSettings()], ids=["file", "default"])
def test_enough_probes_are_sent_to_notice_that_one_answer_in_four_is_old(probes):
    """In a hundred switches, the chance of a false success must be negligible."""
    assert 100 * 0.75**probes.consecutive_answers < 1e-5


def test_every_threshold_is_in_the_committed_file_and_in_the_page_about_gates():
    committed = yaml.safe_load(DEFAULT_PATH.read_text())["gates"]
    page = (ROOT / "docs" / "gates.md").read_text()

    assert committed == GateSettings().model_dump()
    assert [name for name in committed if f"`{name}`" not in page] == []


def test_every_setting_of_the_watch_is_in_the_committed_file_and_in_its_page():
    committed = yaml.safe_load(DEFAULT_PATH.read_text())
    page = (ROOT / "docs" / "watching.md").read_text()

    assert committed["watch"] == WatchSettings().model_dump()
    assert [name for name in committed["watch"] if f"`watch.{name}`" not in page] == []
    assert committed["release"]["bake_minutes"] == 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("release.bake_minutes", -1),
        ("release.bake_minutes", 481),  # the lease of a notebook's release has a day for everything
        ("watch.requests", 199),
        ("watch.window_minutes", 0),
        ("watch.window_minutes", 61),
        ("watch.max_latency_ratio", 0.9),
        ("watch.max_error_rate", 1.1),
        ("watch.topic_id", "a topic"),
    ],
)
def test_a_bake_that_could_not_judge_is_refused(write, name, value):
    with pytest.raises(SettingsError, match=name.replace(".", r"\W+")):
        load_settings(write(name, value))


def test_the_committed_retention_is_the_default_and_gives_the_policy_and_the_prices():
    committed = yaml.safe_load(DEFAULT_PATH.read_text())["retention"]
    retention = load_settings(DEFAULT_PATH).retention

    assert committed == RetentionSettings().model_dump()
    assert retention.policy == RetentionPolicy(versions=5, days=90, customer_days=30)
    assert retention.prices.prices == Prices(None, None, "EUR")


@pytest.mark.parametrize("path", sorted((ROOT / "plugins" / "recdeploy_ops" / "domain" / "gates").glob("*.py")))
def test_a_gate_has_no_threshold_of_its_own(path):
    """No shop could change a number at the top of a module."""
    values = [node.value for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    numbers = [
        ast.unparse(value)
        for value in values
        if isinstance(value, ast.Call) or (isinstance(value, ast.Constant) and isinstance(value.value, int | float))
    ]

    assert numbers == []


def test_the_variable_names_another_file(write, monkeypatch):
    monkeypatch.setenv(SETTINGS_VARIABLE, str(write("project_name", "other-shop")))

    assert load_settings().project_name == "other-shop"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("project_name", "Has Spaces", r"project_name: .*'Has Spaces'"),
        ("storage", "s3://bucket/x", "storage: .*is neither file:///folder nor oci://bucket@namespace/prefix"),
        ("storage", "relative/folder", "storage: .*is neither"),
        ("training.top_k", 0, "training.top_k: .*greater than or equal to 1"),
        ("training.top_k", "many", "training.top_k: .*integer"),
        ("training.engine", "fast", "training.engine: .*'stock' or 'exact'"),
        ("training.factors", 0, "training.factors: .*greater than or equal to 1"),
        ("training.epochs", 1.5, "training.epochs: .*integer"),
        ("training.learning_rate", 0, "training.learning_rate: .*greater than 0"),
        ("training.regularization", -1, "training.regularization: .*greater than or equal to 0"),
        ("training.topk", 10, "training.topk is not a setting"),
        ("serving.conda_environment", None, "serving.conda_environment"),
        ("serving.instance_shape", "huge", "serving.instance_shape"),
        ("serving.instance_count", 0, "serving.instance_count: .*greater than or equal to 1"),
        ("serving.log_group_id", "not-an-ocid", "serving.log_group_id"),
        ("serving.service_limits", ["a limit"], "serving.service_limits"),
        ("tags.freeform", {"recdeploy-role": "x"}, "tags.freeform: .*this project sets the tags that begin with"),
        ("tags.freeform", dict.fromkeys("abcd", "x"), "tags.freeform: .*OCI allows 10 .* so that 3 are left"),
        ("tags.freeform", {"a b": "x"}, "tags.freeform"),
        ("tags.freeform", {"a": 42}, "tags.freeform.a: .*string"),
        ("tags.freeform", {"a": "x" * 257}, "tags.freeform.a: .*256 characters"),
        ("tags.defined", {"Finance": "42"}, "tags.defined.Finance: .*dictionary"),
        ("tags.defined", {"n": {f"k{i}": "x" for i in range(65)}}, "tags.defined: .*OCI allows 64"),
        ("release.ignored_deployments", ["the other team's"], "release.ignored_deployments.0: .*the other team's"),
        ("release.ignored_deployments", "ocid1.x", "release.ignored_deployments: .*tuple"),
        ("gates.min_user_coverage", 1.2, "gates.min_user_coverage: .*less than or equal to 1"),
        ("release.poll_seconds", 0, "release.poll_seconds: .*greater than 0"),
        ("release.poll_seconds", float("inf"), "release.poll_seconds: .*finite number"),
        ("release.deployment_timeout_minutes", 1e15, "release.deployment_timeout_minutes: .*than or equal to 1440"),
        ("release.capacity_timeout_hours", -1, "release.capacity_timeout_hours: .*greater than or equal to 0"),
        ("release.capacity_timeout_hours", 13, "release.capacity_timeout_hours: .*less than or equal to 12"),
        ("release.approval_timeout_hours", 721, "release.approval_timeout_hours: .*less than or equal to 720"),
        ("release.approval_max_age_hours", 0, "release.approval_max_age_hours: .*greater than 0"),
        ("release.freeze_windows", [{"start": "2026-11-26", "end": "2026-12-01"}], ".*reason: Field required"),
        ("gates.max_age_hours", float("nan"), "gates.max_age_hours: .*finite number"),
        ("gates.max_future_hours", -1, "gates.max_future_hours: .*greater than or equal to 0"),
        ("gates.max_latency_ratio", 0.9, "gates.max_latency_ratio: .*greater than or equal to 1"),
        ("gates.max_latency_ratio", float("inf"), "gates.max_latency_ratio: .*finite number"),
        ("gates.max_latency_ratio", True, "gates.max_latency_ratio: .*not true or false"),
        ("gates.max_latency_excess_ms", -1, "gates.max_latency_excess_ms: .*greater than or equal to 0"),
        ("gates.max_latency_excess_ms", "50 ms", "gates.max_latency_excess_ms: .*number"),
        ("serving.ocpus", True, "serving.ocpus: .*not true or false"),
        ("serving.workers", True, "serving.workers: .*not true or false"),
        ("source.parameters", {"since": float("nan")}, "source.parameters: .*since is nan"),
        ("source.parameters", {"since": True}, "source.parameters: .*since is True"),
        ("retention.versions", 0, "retention.versions: .*greater than or equal to 1"),
        ("retention.days", -1, "retention.days: .*greater than or equal to 0"),
        ("retention.customer_days", 91, "retention.customer_days: .*not be kept longer than the rest.*days: 90"),
        ("retention.customer_days", True, "retention.customer_days: .*not true or false"),
        ("retention.prices.test_hour", -0.1, "retention.prices.test_hour: .*greater than or equal to 0"),
        ("retention.prices.currency", "euro", "retention.prices.currency: .*match"),
        ("storage", "file:///tmp/a#b", "storage: .*write '#' as %23"),
        ("storage", "file:///tmp/a?b=c", "storage: .*write '#' as %23"),
        ("storage", "file:///tmp/a%00b", "storage: .*control character"),
        ("storage", "file:////", "storage: .*names no folder"),
        ("storage", "file:///tmp/x\n", "storage: .*is neither"),
        ("messages.reminder_hours", 0, "messages.reminder_hours: .*greater than 0"),
        ("messages.channel", {}, "messages.channel is not a setting"),
        ("messages.channels", {"Mail!": {"notifier": "smtp"}}, "messages.channels.Mail!.*pattern"),
        ("messages.channels", {"mail": {"notifier": "smtp"}}, "messages.channels.mail: .*arguments has no 'to'"),
        ("messages.channels", {"mail": {"notifier": "mail", "arguments": {"to": "x"}}}, ".*mail.notifier: .*pattern"),
        ("messages.channels", {"mail": {**MAIL, "kinds": []}}, "messages.channels.mail.kinds: .*at least 1 item"),
        ("messages.channels", {"mail": {**MAIL, "kinds": ["bad"]}}, "messages.channels.mail.kinds.0: .*'approval'"),
        ("messages.channels", {"mail": {**MAIL, "to": "x"}}, "messages.channels.mail.to is not a setting"),
        ("messages.channels", {"alarms": {"notifier": "oci", "arguments": {"topic_id": "x"}}}, ".*has no 'topic_id'"),
        ("messages.channels", {"chat": {"notifier": "a.B", "arguments": {"text": "x"}}}, ".*no argument uses the mes"),
    ],
)
def test_a_bad_setting_is_rejected_with_its_file_and_name(write, name, value, message):
    path = write(name, value)

    with pytest.raises(SettingsError, match=f"{re.escape(str(path))}: {message}"):
        load_settings(path)


def with_windows(write, text):
    """Return the path of the settings with this YAML as windows, as a person writes it: times are not quoted."""
    path = write("release.freeze_windows", "HERE")
    path.write_text(path.read_text().replace("HERE", text))
    return path


def test_the_windows_in_the_comments_of_the_committed_file_are_valid(write):
    examples = re.findall(r"^  #   - (\{reason.*\})$", DEFAULT_PATH.read_text(), re.MULTILINE)
    windows = load_settings(with_windows(write, f"[{', '.join(examples)}]")).release.freeze_windows

    assert [(window.reason, str(window.start), window.time_zone, window.repeats) for window in windows] == [
        ("Black Friday", "2026-11-26 18:00:00", "Europe/Berlin", None),
        ("weekend", "2026-01-02 16:00:00", "Europe/Berlin", Repeats.WEEKLY),
    ]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("start: 2026-11-26 18:00:00Z, end: 2026-12-01", "start has an offset or is a number"),
        ("start: 2026, end: 2026-12-01", "start has an offset or is a number"),
        ("start: 2026-12-01, end: 2026-11-26", "which is not after its start"),
        ("start: 2026-11-26, end: 2026-12-01, time_zone: Berlin", "time_zone is 'Berlin': it must be a name such as"),
        ("start: 2026-11-26, end: 2026-12-01, until: 2026-12-02", "0.until is not a setting"),
        ("start: 2026-11-26, end: 2026-12-01, repeats: daily", "0.repeats: .*'weekly' or 'yearly'"),
    ],
)
def test_a_bad_window_is_rejected_with_its_field(write, window, message):
    with pytest.raises(SettingsError, match=f"release.freeze_windows.*{message}"):
        load_settings(with_windows(write, f"[{{reason: sale, {window}}}]"))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"minimum": 2, "maximum": 6}, "initial: Field required"),
        ({"minimum": 2, "maximum": 6, "initial": 7}, "initial: .*which are 2 and 6"),
        ({"minimum": 6, "maximum": 2, "initial": 4}, "initial: .*which are 6 and 2"),
        (SCALED | {"metric": "REQUESTS"}, "metric: .*'CPU_UTILIZATION' or 'MEMORY_UTILIZATION'"),
        (SCALED | {"scale_in": 70}, "scale_out: .*more than scale_in, which is 70"),
        (SCALED | {"cool_down_seconds": 599}, "cool_down_seconds: .*equal to 600"),
        (SCALED | {"cooldown": 600}, "cooldown is not a setting"),
    ],
)
def test_a_bad_autoscaling_policy_is_rejected_with_its_field(write, policy, message):
    with pytest.raises(SettingsError, match=f"serving.autoscaling.{message}"):
        load_settings(write("serving.autoscaling", policy))


def test_nobody_is_told_anything_until_a_channel_is_added(write):
    assert load_settings(DEFAULT_PATH).messages.channels == {}
    chat = {"notifier": "somebody.else.Notifier", "arguments": {"text": "{{ message.body }}"}, "kinds": ["failed"]}
    messages = load_settings(write("messages.channels", {"mail": MAIL, "chat": chat})).messages
    assert messages.channels["mail"].kinds == tuple(MessageKind)
    assert messages.channels["chat"].kinds == (MessageKind.FAILED,)


def test_the_committed_settings_leave_the_size_of_production_alone():
    assert load_settings(DEFAULT_PATH).serving.size == NO_REQUEST


def test_autoscaling_replaces_a_number_of_instances(write):
    serving = yaml.safe_load(DEFAULT_PATH.read_text())["serving"]
    both = write("serving", serving | {"autoscaling": SCALED, "instance_count": 2})
    with pytest.raises(SettingsError, match=r"serving.autoscaling: .*set one of the two to null"):
        load_settings(both)

    path = write("serving", serving | {"autoscaling": SCALED, "ocpus": 2})
    policy = Autoscaling(2, 6, 3, "CPU_UTILIZATION", 30, 70, 600)
    assert load_settings(path).serving.size == SizeRequest(ocpus=2, autoscaling=policy)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"engine": "stock", "refit": True},
            r"training\.refit: .*cannot refit on all ratings; set training\.engine to exact",
        ),
        (
            {"engine": "stock", "ensemble": 2},
            r"training\.ensemble: .*trains one model; set training\.engine to exact, or 1 here",
        ),
        (
            {"recipe": "ease", "ensemble": 2},
            r"training\.ensemble: .*only the recipe svd averages models, and training\.recipe is ease: set 1",
        ),
        (
            {"engine": "stock", "new_users": "best"},
            r"training\.new_users: .*which the stock engine cannot; set training\.engine to exact",
        ),
    ],
)
def test_what_an_engine_or_a_recipe_cannot_do_is_refused_with_the_remedy(write, training, message):
    with pytest.raises(SettingsError, match=message):
        load_settings(write("training", training))


def test_the_default_is_the_exact_engine_with_surprises_hyperparameters(write):
    training = load_settings(write("training", {})).training

    assert (training.engine, training.refit, training.factors, training.epochs) == ("exact", False, 100, 20)
    assert (training.learning_rate, training.regularization, training.ensemble) == (0.005, 0.02, 1)
    assert training.new_users == "operator"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not valid YAML"),
        (None, r"Cannot read the settings file .*recommender\.yaml: No such file"),
        ("- x", "must be a mapping"),
        ("", "mapping"),
        ("a: 2026-13-45", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("storage: x\nstorage: y", "the setting 'storage' occurs more than once"),
        ("serving: {ocpus: 1, ocpus: 2}", "the setting 'ocpus' occurs more than once"),
    ],
)
def test_a_file_that_is_missing_or_not_a_mapping_is_rejected(tmp_path, content, message):
    path = tmp_path / "recommender.yaml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match=message):
        load_settings(path)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("source.implicit", True, "set training.recipe to ease or als, or source.implicit to false"),
        ("training.recipe", "svd++", "training.recipe: Input should be 'svd', 'ease' or 'als'"),
        ("training.als", {"factors": 0}, "training.als.factors: Input should be greater than or equal to 1"),
    ],
)
def test_settings_that_no_recipe_can_follow_are_refused(write, name, value, problem):
    with pytest.raises(SettingsError, match=re.escape(problem)):
        load_settings(write(name, value))


def test_the_stock_engine_is_of_adss_recipe(write):
    path = write("training.recipe", "ease")
    path.write_text(path.read_text().replace("engine: exact", "engine: stock"))
    with pytest.raises(SettingsError, match=r"stock is ADS's own model, the recipe svd, and training\.recipe is ease"):
        load_settings(path)


def test_a_model_is_described_by_the_settings_of_its_recipe():
    settings = load_settings(DEFAULT_PATH)
    assert settings.model == settings.model_of("svd")
    assert settings.model["recipe"] == "svd"
    assert settings.model_of("ease") == {"recipe": "ease", "implicit": False}
    als = {"factors": 64, "epochs": 15, "regularization": 10, "weight": 5, "implicit": False}
    assert settings.model_of("als") == {"recipe": "als", **als}


def test_counts_of_repeated_purchases_are_added_up():
    source = load_settings(DEFAULT_PATH).source
    assert source.merging == "latest"
    assert source.model_copy(update={"implicit": True}).merging == "sum"
    assert source.model_copy(update={"implicit": True, "repeated": "max"}).merging == "max"


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)), "schedule: *a39"])
CRAFTED = {
    "an anchor bomb": BOMB,
    "an anchor bomb of mappings": BOMB.replace("[x, x]", "{x: y}")
    .replace("[*", "{p: *")
    .replace(", *", ", q: *")
    .replace("]", "}"),
    "an anchor bomb that is merged": BOMB.replace("[*", "{<<: [*").replace("]", "]}").replace("[x, x]}", "{x: y}"),
    "an anchor in itself": "schedule: &a [*a]",
    "100,000 brackets": "schedule: " + "[" * 100_000,
    "a class": "schedule: !!python/object/apply:os.system [exit 1]",
    "a date of the year 99999": "schedule: 99999-01-01",
    "binary that is not": "schedule: !!binary x",
    "a number of 10,000 digits": "schedule: " + "9" * 10_000,
    "an integer of sexagesimals": "schedule: " + ":".join(["59"] * 5_000),
    "a secret of a megabyte": "project_name: " + "S" * (1 << 20),
    "a set": "!!set {a, b}",
    "a NUL": "a: \0",
    "a list as a key": "[a]: b",
}


@pytest.mark.parametrize("text", CRAFTED.values(), ids=CRAFTED.keys())
def test_a_crafted_file_is_refused_in_a_short_text(tmp_path, text):
    path = tmp_path / "recommender.yaml"
    path.write_text(text)

    with pytest.raises(SettingsError) as caught:
        load_settings(path)

    assert len(caught.value.message) < 5_000


def test_an_anchor_stands_for_a_value(tmp_path):
    path = tmp_path / "recommender.yaml"
    text = DEFAULT_PATH.read_text()
    assert "\n  top_k: 10 " in text
    path.write_text(
        text.replace("\n  top_k: 10 ", "\n  top_k: &ten 10\n  seed: *ten #").replace("\n  seed: 42", "\n  #")
    )

    assert load_settings(path).training.seed == 10
