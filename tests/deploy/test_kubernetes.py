"""The Kubernetes manifests: by the published schemas, and by what no schema sees."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.conf import settings

from core.asgi.health import PAGES
from tests.spellplatform.test_docs_reference import documented_settings
from tests.strong import SECRET_KEY, WEBHOOK_SECRET

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
GUIDE = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text()
OLDEST, NEWEST = "1.32", "1.37"  # that the guide names
Document = dict[str, Any]


def documents(*folders: str) -> list[Document]:
    """Return what is applied: the files that the kustomizations of these folders name."""
    found: list[Document] = []
    for folder in folders:
        for name in read(folder)["resources"]:
            found += [one for one in yaml.safe_load_all((FOLDER / folder / name).read_text()) if one]
    return found


def read(folder: str) -> Document:
    found: Document = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
    return found


def config() -> dict[str, str]:
    lines = (FOLDER / "base" / "config.env").read_text().split()
    return dict(line.split("=", 1) for line in lines)


ALL = documents("base", "components/monitoring")
KNOWN = [one for one in ALL if one["kind"] != "PodMonitor"]  # the Prometheus operator's own


def test_every_file_is_part_of_a_kustomization_and_every_name_is_a_file():
    for file in FOLDER.rglob("kustomization.yaml"):
        kustomization = yaml.safe_load(file.read_text())
        named = kustomization["resources"] + kustomization.get("components", [])
        generated = [name for one in kustomization.get("configMapGenerator", []) for name in one.get("envs", [])]
        assert all((file.parent / name).exists() for name in named + generated), file
        beside = {one.name for one in file.parent.iterdir() if one.is_file()} - {"kustomization.yaml"}
        assert beside == {name for name in named if not name.startswith("..")} | set(generated), file


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("document", KNOWN, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_each_manifest_fits_its_schema(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def test_the_example_changes_what_there_is():
    example = read("overlays/example")
    [images], [merged] = example["images"], example["configMapGenerator"]
    assert images["name"] in {one["image"] for _, one in containers(ALL)}
    names = {literal.partition("=")[0] for literal in merged["literals"]}
    assert (merged["name"], merged["behavior"], names <= set(config())) == ("spell-platform", "merge", True)
    kinds = {(one["kind"], one["metadata"]["name"]): one for one in ALL}
    for patch in example["patches"]:
        target: Any = kinds[patch["target"]["kind"], patch["target"]["name"]]
        for change in yaml.safe_load(patch["patch"]):
            place = target
            for part in change["path"].strip("/").split("/"):
                place = place[int(part) if part.isdigit() else part]
            assert isinstance(place, str), change


# --- what no schema sees ---------------------------------------------------------------------------------------------


def workloads(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Yield what makes pods, with the template that it makes them by."""
    for one in documents:
        if one["kind"] in ("Deployment", "Job"):
            yield one, one["spec"]["template"]


def containers(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    for _, template in workloads(documents):
        for container in template["spec"]["containers"]:
            yield template, container


def fits(selector: dict[str, str], template: Document) -> bool:
    return selector.items() <= template["metadata"]["labels"].items()


def named(documents: list[Document], kind: str, name: str) -> bool:
    return any((one["kind"], one["metadata"]["name"]) == (kind, name) for one in documents)


def selectors(one: Document) -> Iterator[dict[str, str]]:
    """Yield the labels by which something finds pods of ours."""
    spec = one.get("spec", {})
    match one["kind"]:
        case "Service":
            yield spec["selector"]
        case "Deployment":
            yield spec["selector"]["matchLabels"]
            for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
                yield spread["labelSelector"]["matchLabels"]
        case "PodDisruptionBudget" | "PodMonitor":
            yield spec["selector"]["matchLabels"]
        case "NetworkPolicy" if spec["podSelector"]:
            yield spec["podSelector"]["matchLabels"]


def broken_selectors(documents: list[Document]) -> Iterator[str]:
    templates = [template for _, template in workloads(documents)]
    for one in documents:
        for selector in selectors(one):
            if not selector or not any(fits(selector, template) for template in templates):
                yield f"{one['kind']} {one['metadata']['name']} finds no pods"
        if one["kind"] == "Deployment" and not all(fits(each, one["spec"]["template"]) for each in selectors(one)):
            yield f"{one['metadata']['name']} counts other pods than its own"


def broken_scaling(documents: list[Document]) -> Iterator[str]:
    [target] = [one["spec"]["scaleTargetRef"] for one in documents if one["kind"] == "HorizontalPodAutoscaler"]
    if not named(documents, target["kind"], target["name"]):
        yield f"there is no {target}"
    elif any("replicas" in one["spec"] for one in documents if one["metadata"]["name"] == target["name"]):
        yield "replicas are set by two"


def broken_ingress(documents: list[Document]) -> Iterator[str]:
    [ingress] = [one["spec"] for one in documents if one["kind"] == "Ingress"]
    [rule], [tls] = ingress["rules"], ingress["tls"]
    if tls["hosts"] != [rule["host"]]:
        yield "TLS is for another host"
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in documents if one["kind"] == "Service"}
    for path in rule["http"]["paths"]:
        service = path["backend"]["service"]
        if service["port"]["name"] not in [port["name"] for port in services.get(service["name"], [])]:
            yield f"there is no {service}"


def ports_asked(one: Document) -> set[str]:
    """Return the ports of pods by name at which something asks them."""
    match one["kind"]:
        case "Service":
            return {port["targetPort"] for port in one["spec"]["ports"]}
        case "NetworkPolicy":
            rules = one["spec"].get("ingress", [])
            return {port["port"] for rule in rules for port in rule["ports"]}
        case "PodMonitor":
            return {end["port"] for end in one["spec"]["podMetricsEndpoints"]}
    return set()


def broken_ports(documents: list[Document]) -> Iterator[str]:
    serving = [(template, one, ports_of(one)) for template, one in containers(documents) if ports_of(one)]
    for one in documents:
        for selector in selectors(one) if (asked := ports_asked(one)) else ():
            for template, _, own in serving:
                if fits(selector, template) and not asked <= own:
                    yield f"{one['metadata']['name']}: no port {asked - own}"
    for _, container, own in serving:
        for kind in PROBES:
            if container.get(kind, {}).get("httpGet", {}).get("port") not in own:
                yield f"{container['name']}: {kind} asks at no port of its own"


def ports_of(container: Document) -> set[str]:
    return {port["name"] for port in container.get("ports", [])}


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def wrong_probes(documents: list[Document]) -> Iterator[str]:
    for _, container in containers(documents):
        for kind in PROBES:
            if kind not in container:
                continue
            path, _, query = container[kind]["httpGet"]["path"].partition("?")
            if path not in PAGES:
                yield f"{path} is no page of ours"
            if (path == "/readyz") != (kind == "readinessProbe"):
                yield f"{kind} asks {path}"
            left_out = query.removeprefix("exclude=").split(",") if query else []
            if not set(left_out) <= {*settings.READINESS, "storage"}:
                yield f"{query} leaves out what is not checked"


def wrong_settings(documents: list[Document]) -> Iterator[str]:
    known, generated = documented_settings(), {one["name"] for one in read("base")["configMapGenerator"]}
    for template, container in containers(documents):
        if {one["configMapRef"]["name"] for one in container["envFrom"]} != generated:
            yield f"{container['name']} gets no settings"
        given = config() | {one["name"]: one["value"] for one in container.get("env", [])}
        for name, value in given.items():
            if name.removesuffix("_FILE") not in known:
                yield f"{name} is no setting"
            if name.endswith("_FILE") and not is_in_secret(value, template, container):
                yield f"{value} is in no secret that the guide makes"
        writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
        if not writable >= {given["VAR_DIR"], "/tmp"}:
            yield f"{container['name']} can't write"


def is_in_secret(path: str, template: Document, container: Document) -> bool:
    [mount] = [one for one in container["volumeMounts"] if path.startswith(f"{one['mountPath']}/")]
    [volume] = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
    made = f"{Path(path).name}=" in GUIDE
    return made and volume.get("secret", {}).get("secretName") == "spell-platform"


def deaf(documents: list[Document]) -> Iterator[str]:
    for name, setting in (("web", "BIND"), ("worker", "WORKER_BIND")):
        [container] = [one for _, one in containers(documents) if one["name"] == name]
        given = config() | {one["name"]: one["value"] for one in container.get("env", [])}
        if [int(given[setting].rpartition(":")[2])] != [port["containerPort"] for port in container["ports"]]:
            yield f"{name} listens elsewhere"


def not_restricted(documents: list[Document]) -> Iterator[str]:
    """Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (restricted), and a little more."""
    for template, container in containers(documents):
        pod, own = template["spec"], container["securityContext"]
        held = {
            "root": pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 10001,
            "seccomp": pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
            "host": not {"hostNetwork", "hostPID", "hostIPC"} & set(pod),
            "escalation": own["allowPrivilegeEscalation"] is False and "privileged" not in own,
            "capabilities": own["capabilities"] == {"drop": ["ALL"]},
            "volumes": all(set(one) & {"emptyDir", "secret"} for one in pod["volumes"]),
            "files": own["readOnlyRootFilesystem"] is True,
            "token": pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False,
            "memory": "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"],
            "account": named(documents, "ServiceAccount", pod["serviceAccountName"]),
        }
        yield from (f"{container['name']}: {what}" for what, holds in held.items() if not holds)


def too_short(documents: list[Document]) -> Iterator[str]:
    """Say which pods are killed before they have ended by themselves."""
    graceful = re.search(r"^graceful_timeout = (\d+)", (ROOT / "spellplatform" / "gunicorn.conf.py").read_text(), re.M)
    assert graceful is not None
    for template, container in containers(documents):
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        takes = {"web": int(graceful[1]) + before, "worker": 45}.get(container["name"], 0)
        if template["spec"]["terminationGracePeriodSeconds"] < takes + 5:
            yield container["name"]


CHECKS: tuple[Callable[[list[Document]], Iterator[str]], ...] = (
    broken_selectors,
    broken_scaling,
    broken_ingress,
    broken_ports,
    wrong_probes,
    wrong_settings,
    deaf,
    not_restricted,
    too_short,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_all_fits_together(check):
    assert list(check(ALL)) == []


def at(name: str, *path: str | int, value: Any) -> Callable[[list[Document]], None]:
    """Return what changes one value of the manifest with this kind and name."""

    def change(documents: list[Document]) -> None:
        [place] = [one for one in documents if f"{one['kind']}/{one['metadata']['name']}" == name]
        for part in path[:-1]:
            place = place[part]  # type: ignore[index]
        place[path[-1]] = value  # type: ignore[index]

    return change


POD = ("spec", "template", "spec")
LABEL = {"app.kubernetes.io/component": "wbe"}
FAULTS = (
    (broken_selectors, at("Service/web", "spec", "selector", value=LABEL)),
    (broken_selectors, at("PodDisruptionBudget/worker", "spec", "selector", "matchLabels", value=LABEL)),
    (broken_selectors, at("NetworkPolicy/requests", "spec", "podSelector", "matchLabels", value=LABEL)),
    (broken_scaling, at("HorizontalPodAutoscaler/web", "spec", "scaleTargetRef", "name", value="wbe")),
    (broken_scaling, at("Deployment/web", "spec", "replicas", value=2)),
    (broken_ports, at("Service/web", "spec", "ports", 0, "targetPort", value="https")),
    (broken_ingress, at("Service/web", "spec", "ports", 0, "name", value="https")),
    (broken_ingress, at("Ingress/web", "spec", "rules", 0, "host", value="other.example.com")),
    (broken_ports, at("Deployment/worker", *POD, "containers", 0, "livenessProbe", "httpGet", "port", value="web")),
    (wrong_probes, at("Deployment/web", *POD, "containers", 0, "livenessProbe", "httpGet", "path", value="/readyz")),
    (wrong_probes, at("Deployment/web", *POD, "containers", 0, "startupProbe", "httpGet", "path", value="/health")),
    (wrong_settings, at("Deployment/worker", *POD, "containers", 0, "env", 0, "name", value="WORKER_BINT")),
    (deaf, at("Deployment/worker", *POD, "containers", 0, "env", 0, "value", value="0.0.0.0:8001")),
    (wrong_settings, at("Deployment/web", *POD, "volumes", 0, "secret", "secretName", value="other")),
    (not_restricted, at("Deployment/web", *POD, "securityContext", "runAsNonRoot", value=False)),
    (not_restricted, at("Job/migrate", *POD, "containers", 0, "securityContext", "capabilities", value={})),
    (not_restricted, at("Job/migrate", *POD, "volumes", 1, value={"name": "var", "hostPath": {"path": "/"}})),
    (too_short, at("Deployment/web", *POD, "terminationGracePeriodSeconds", value=15)),
)


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_fault_is_found(number):
    check, change = FAULTS[number]
    changed = copy.deepcopy(ALL)
    change(changed)
    assert list(check(changed)) != []


@pytest.mark.processes
def test_the_settings_are_taken_as_they_are_there(tmp_path):
    """By the service itself, with secrets as the guide has them made."""
    secrets = {
        "SECRET_KEY": SECRET_KEY + SECRET_KEY[::-1],
        "FIELD_ENCRYPTION_KEYS": "A" * 43 + "=",
        "DATABASE_URL": "postgresql://spells:x@db.example.com/spells?sslmode=verify-full",
        "GITHUB_APP_PRIVATE_KEY": (ROOT / "tests" / "data" / "app.pem").read_text(),
        "GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "METRICS_TOKEN": "metrics-token-of-the-tests-1234567890",
        "AWS_ACCESS_KEY_ID": "KEY",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= config() | {"IGNORE_ENV_FILE": "1", "VAR_DIR": str(tmp_path / "var"), "WORKER_BIND": "0.0.0.0:8000"}
    for name, text in secrets.items():
        (tmp_path / name).write_text(text)
        assert config()[f"{name}_FILE"] == f"/run/secrets/spell-platform/{name}"
        environment[f"{name}_FILE"] = str(tmp_path / name)
    assert {name for name in config() if name.endswith("_FILE")} == {f"{name}_FILE" for name in secrets}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
