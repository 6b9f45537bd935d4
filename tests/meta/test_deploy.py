"""The deployment files say nothing that the code does not: metrics, settings, ports, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover.metrics import Metrics
from cutover.settings import FLAT_SECTIONS, Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
RULE_TESTS = DEPLOY / "prometheus" / "alerts_test.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "cutover.json"
YAML_FILES = sorted(path for pattern in ("*.yml", "*.yaml") for path in DEPLOY.rglob(pattern))
PROMTOOL = os.environ.get("CUTOVER_TEST_PROMTOOL") or shutil.which("promtool")


def exposed() -> dict[str, set[str]]:
    """Every series name that the service exposes, with its labels."""
    found: dict[str, set[str]] = {}
    for collector in Metrics("test").registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(collector.type, [""])
        for suffix in suffixes:
            found[collector.name + suffix] = set(getattr(collector, "_labelnames", ()))  # of a tally
    for metric in vars(Metrics("test")).values():
        if hasattr(metric, "_labelnames"):
            name = metric._name
            for series in found:
                if series == name or series.removeprefix(name) in ("_total", "_bucket", "_sum", "_count"):
                    found[series] = set(metric._labelnames)
    return found


EXPOSED = exposed()
OF_THE_PROCESS = re.compile(r"up|process_\w+|python_\w+")


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression in the rules and the dashboard, with where it stands."""
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_yaml_file_parses_and_holds_something(path: Path) -> None:
    assert all(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("place", "expression"), sorted(set(expressions())))
def test_every_metric_and_label_that_is_asked_for_exists(place: str, expression: str) -> None:
    names = re.findall(r"\b(?:cutover|process|python)_\w+(?=[{\[\s)]|$)", re.sub(r"\"[^\"]*\"", '""', expression))
    assert names or "up{" in expression, place
    for name in names:
        assert name in EXPOSED or re.fullmatch(OF_THE_PROCESS, name), f"{place}: there is no metric {name}"
    for name, matchers in re.findall(r"\b(cutover_\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - {"instance", "job"}
        assert labels <= EXPOSED[name], f"{place}: {name} has no label {labels - EXPOSED[name]}"


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(expression for _, expression in expressions()) + DASHBOARD.read_text(encoding="utf-8")
    for series in (name for name in EXPOSED if name.startswith("cutover_")):
        name = re.sub(r"_(bucket|sum|count)$", "", series)
        assert name in shown, f"{name} is on no panel and in no rule"


def test_panels_have_their_own_place_and_number() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells


def test_every_alert_says_what_to_do_and_is_tested_firing_and_silent() -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert rule["annotations"].keys() == {"summary", "runbook"}
            outcomes = {bool(check["exp_alerts"]) for check in checks if check["alertname"] == rule["alert"]}
            assert True in outcomes, f"no test shows {rule['alert']} firing"
            assert outcomes == {True, False} or rule["alert"] == "CutoverDown", f"{rule['alert']} is never silent"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it comes with the package `prometheus`)")
@pytest.mark.parametrize(
    "arguments", [("check", "rules", RULES.name), ("test", "rules", RULE_TESTS.name)], ids=["check", "test"]
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    assert PROMTOOL is not None
    ran = subprocess.run([PROMTOOL, *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it comes with the package `prometheus`)")
def test_promtool_can_read_the_configuration_and_every_panel(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    configuration = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "viewer_token").write_text("token", encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(
        configuration.replace("/run/secrets/viewer_token", str(tmp_path / "viewer_token")), encoding="utf-8"
    )
    shutil.copy(RULES, tmp_path)
    made_up = {"$__rate_interval": "1m", "$__interval": "1m", "$instance": "c:8081"}
    rules = []
    variable = re.compile("|".join(map(re.escape, made_up)))
    for number, (_, expression) in enumerate(expressions()):
        rules.append({"record": f"panel:{number}", "expr": variable.sub(lambda found: made_up[found[0]], expression)})
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8"
    )
    for arguments in (("check", "config", "prometheus.yml"), ("check", "rules", "panels.yml")):
        ran = subprocess.run([PROMTOOL, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def test_compose_names_only_what_is_there() -> None:
    described = compose()
    example = (DEPLOY / "example.env").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    asked |= {secret["environment"] for secret in described["secrets"].values()}
    assert asked - {"CUTOVER_TOML"} == set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    for name, service in described["services"].items():
        assert set(service.get("secrets", [])) <= described["secrets"].keys()
        assert set(service.get("depends_on", {})) <= described["services"].keys()
        assert "healthcheck" in service or name == "cutover", "cutover's stands in its Dockerfile"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network: {port}"
        for volume in service["volumes"]:
            source = re.sub(r"^\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}", r"\1", volume).split(":")[0]
            known = not source or source in described["volumes"] or (DEPLOY / source).exists()
            assert known, f"{name}: there is no {source!r}"


def test_passwords_are_in_no_file() -> None:
    for line in (DEPLOY / "example.env").read_text(encoding="utf-8").splitlines():
        if re.match(r"\w*(TOKEN|PASSWORD)\w*=", line):
            assert line.endswith("="), "the example holds a secret"


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """The settings that each deployment puts into the service's environment."""
    given = compose()["services"]["cutover"]["environment"]
    yield "compose", {name: re.sub(r"\$\{\w+:\?\}", "secret", value) for name, value in given.items()}
    docker = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    yield "docker", dict(re.findall(r"(CUTOVER_\w+)=(\S+)", docker))
    unit = (DEPLOY / "systemd" / "cutover.service").read_text(encoding="utf-8")
    yield "systemd", dict(re.findall(r"^Environment=(\w+)=(\S+)", unit, re.MULTILINE))
    stateful = yaml.safe_load((DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8"))
    variables = stateful["spec"]["template"]["spec"]["containers"][0]["env"]
    yield "kubernetes", {variable["name"]: variable.get("value", "postgresql://there") for variable in variables}


@pytest.mark.parametrize(
    ("where", "environ"), list(environments()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_variable_is_a_setting(where: str, environ: dict[str, str]) -> None:
    assert environ, where
    assert isinstance(load_settings(None, environ), Settings)


def test_the_ports_are_the_same_everywhere() -> None:
    docker = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    front, admin = (re.search(rf"{name}_LISTEN=\S+:(\d+)", docker)[1] for name in ("FRONT", "ADMIN"))  # type: ignore[index]
    assert re.search(rf"^EXPOSE {front} {admin}$", docker, re.MULTILINE)
    assert f"http://127.0.0.1:{admin}/healthz" in docker
    assert compose()["services"]["cutover"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in (front, admin)]
    stateful = (DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8")
    assert f"{{name: front, containerPort: {front}}}" in stateful
    assert f"{{name: admin, containerPort: {admin}}}" in stateful
    assert f"cutover:{admin}" in (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")


def test_kubernetes_never_runs_two_owners() -> None:
    stateful = yaml.safe_load((DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8"))
    assert stateful["kind"] == "StatefulSet"
    assert stateful["spec"]["replicas"] == 1
    assert stateful["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    container = stateful["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", (
        "a shadow that is away must not kill the primary"
    )
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    described = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
    for name in described["resources"] + described["configMapGenerator"][0]["files"]:
        assert (DEPLOY / "kubernetes" / name).exists()


def test_the_configuration_in_kubernetes_is_valid() -> None:
    load_settings(DEPLOY / "kubernetes" / "cutover.toml", {})


def test_the_image_is_named_by_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert compose()["services"]["cutover"]["image"] == f"cutover:{version}"
    assert f"image: cutover:{version}" in (DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8")


def test_the_files_speak_of_settings_that_exist() -> None:
    known = {
        f"{section}.{field.alias or name}"
        for section in FLAT_SECTIONS
        for name, field in Settings.model_fields[section].annotation.model_fields.items()  # type: ignore[union-attr]
    }
    for text in (RULES.read_text(encoding="utf-8"), (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")):
        for named in re.findall(rf"\b((?:{'|'.join(FLAT_SECTIONS)})\.[a-z_]+)\b(?!\.)", text):
            assert named in known or named.endswith((".service", ".url")), named
