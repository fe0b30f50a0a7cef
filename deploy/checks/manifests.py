"""Checks the charts and the plain manifests of deploy/.

Each chart is linted and rendered, then every object is held against the schemas of Kubernetes (the
oldest version with native sidecars and the newest that is known), PodMonitor and PrometheusRule
against models made from their CRDs. A kind without a schema is a failure. What the manifests must
agree on (labels, ports, names) is compared, and plain manifests are compared with the charts.

    manifests.py [--write]      --write: write deploy/kubernetes/monitoring.yaml anew
"""

import argparse
import re
import sys

import helm_python as helm
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as monitoring

from render import HELM, lint, render, to_yaml

DEPLOY = HELM.parent
PLAIN = DEPLOY / "kubernetes"
GENERATED = PLAIN / "monitoring.yaml"
# Native sidecars are on by default from 1.29.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]
CRDS = {"PodMonitor": monitoring.PodMonitor, "PrometheusRule": monitoring.PrometheusRule}
CONFIG = '[[route]]\nurl = "sqlserver://myserver.database.windows.net/mydb"\n'

# Values that take every branch of the templates.
VARIANTS = {
    "example": [
        {},
        {"nightly": {"enabled": False}},
        {
            "entrapool": {
                "image": {"digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
                "config": CONFIG,
                "httpPort": 9999,
                "workloadIdentity": {"enabled": False, "skipContainers": []},
                "env": [
                    {
                        "name": "AZURE_CLIENT_SECRET",
                        "valueFrom": {"secretKeyRef": {"name": "app", "key": "secret"}},
                    }
                ],
                "volumeMounts": [{"name": "password", "mountPath": "/run/secrets/db"}],
                "volumes": [{"name": "password", "secret": {"secretName": "db"}}],
                "readinessProbe": {"periodSeconds": 5},
                "networkPolicy": {
                    "databases": [
                        {
                            "cidr": "10.0.0.0/24",
                            "ports": [1433],
                            "ranges": [{"from": 11000, "to": 11999}],
                        }
                    ],
                    "entra": {"enabled": False},
                    "imds": {"enabled": True},
                },
            }
        },
    ],
    "entrapool-monitoring": [
        {},
        {"dashboard": {"enabled": False}},
        {
            "podMonitor": {
                "labels": {"release": "stack"},
                "interval": "1m",
                "namespaceSelector": {"matchNames": ["a"]},
            },
            "prometheusRule": {
                "labels": {"release": "stack"},
                "for": {"*": "10m", "EntrapoolPoolWaiting": "0s"},
                "disabled": ["EntrapoolPoolSlow"],
                "alertLabels": {"team": "databases"},
            },
            "dashboard": {"annotations": {"folder": "Databases"}},
        },
    ],
}

# Values that must be refused, with a word of the reason.
REFUSED = {
    "example": [
        ({"entrapool": {"image": {"repository": ""}}}, "no image is published"),
        ({"entrapool": {"config": ""}}, "entrapool.config is empty"),
        ({"entrapool": {"workloadIdentity": {"skipContainers": []}}}, "can take the token"),
        ({"entrapool": {"pool_size": 5}}, "pool_size"),
    ],
    "entrapool-monitoring": [
        ({"prometheusRule": {"for": {"NoSuchAlert": "1m"}}}, "NoSuchAlert"),
        ({"prometheusRule": {"for": {"*": "soon"}}}, "pattern"),
    ],
}


class Findings:
    """What is wrong, and how much was looked at."""

    def __init__(self):
        self.wrong = []
        self.objects = 0

    def check(self, good, what):
        if not good:
            self.wrong.append(what)


def validate(thing, where, findings):
    """One object against its schema."""
    name = f"{where}: {thing.get('kind')} {thing.get('metadata', {}).get('name')}"
    findings.objects += 1
    if thing["kind"] in CRDS:
        against_crd(thing, name, findings)
        return
    for version in VERSIONS:
        try:
            used = kubernetes_validate.validate(thing, version, strict=True)
            findings.check(used == ".".join(version.split(".")[:2]), f"{name}: no schemas of {version}")
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.path))
            findings.check(False, f"{name}: {version}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            findings.check(False, f"{name}: {error.message}")


def against_crd(thing, name, findings):
    """The model drops fields that it does not know, so what comes out must be what went in."""
    try:
        model = CRDS[thing["kind"]].model_validate(thing)
    except ValueError as error:
        findings.check(False, f"{name}: {error}")
        return
    back = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    findings.check(back == thing, f"{name}: the CRD does not know all of its fields")


def pods(objects):
    """Name, metadata and spec of all pod templates."""
    for thing in objects:
        spec = thing.get("spec", {})
        if thing["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        template = spec.get("template")
        if template:
            yield f"{thing['kind']} {thing['metadata']['name']}", template["metadata"], template["spec"]


def sidecar(spec):
    return next((c for c in spec.get("initContainers", []) if c["name"] == "entrapool"), None)


def agree(objects, where, findings):
    """What the parts of a pod must agree on."""
    for name, metadata, spec in pods(objects):
        name = f"{where}: {name}"
        container = sidecar(spec)
        findings.check(container, f"{name} has no sidecar")
        if not container:
            continue
        first = spec["initContainers"][0]["name"] == "entrapool"
        findings.check(first, f"{name}: an init container before the sidecar has no database")
        findings.check(container.get("restartPolicy") == "Always", f"{name}: no native sidecar")
        probe = container["startupProbe"]["httpGet"]["path"]
        findings.check(probe == "/startup", f"{name}: the startup probe asks {probe}")
        labels, annotations = metadata["labels"], metadata.get("annotations", {})
        findings.check(labels.get("entrapool-sidecar") == "true", f"{name}: nobody scrapes it")
        if labels.get("azure.workload.identity/use") == "true":
            skipped = annotations["azure.workload.identity/skip-containers"].split(";")
            others = spec["containers"] + spec["initContainers"]
            others = {c["name"] for c in others} - {"entrapool"}
            findings.check(others <= set(skipped), f"{name}: {others - set(skipped)} get the token")
            findings.check("entrapool" not in skipped, f"{name}: the sidecar gets no token")
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        mounts = {m["name"] for c in spec["containers"] + spec["initContainers"] for m in c.get("volumeMounts", [])}
        findings.check(mounts <= volumes, f"{name}: no volume for {mounts - volumes}")


def charts(findings):
    for chart, variants in VARIANTS.items():
        for values in variants:
            objects = render(chart, values)
            where = f"chart {chart} with {sorted(values)}"
            findings.check(objects, f"{where} renders nothing")
            for thing in objects:
                validate(thing, where, findings)
            agree(objects, where, findings)
    for chart, refused in REFUSED.items():
        for values, reason in refused:
            try:
                render(chart, values)
                findings.check(False, f"chart {chart} takes {values}")
            except helm.HelmError as error:
                findings.check(reason in str(error), f"chart {chart}, {values}: {error}")
    for chart in sorted(path.name for path in HELM.iterdir()):
        for message in lint(chart)["messages"]:
            # 1 is a hint: there is no icon.
            findings.check(message["severity"] <= 1, f"lint {chart}: {message}")


def plain(findings):
    files = sorted(PLAIN.glob("*.yaml"))
    findings.check(len(files) == 4, f"there are {len(files)} plain manifests")
    for path in files:
        objects = list(yaml.safe_load_all(path.read_text()))
        for thing in objects:
            validate(thing, path.name, findings)
        agree(objects, path.name, findings)
    rendered = render("example")
    wanted = next(sidecar(spec) for _, _, spec in pods(rendered))
    for path in files:
        for name, _, spec in pods(yaml.safe_load_all(path.read_text())):
            findings.check(sidecar(spec) == wanted, f"{path.name}: {name} and the chart have other sidecars")
    policy = next(thing for thing in rendered if thing["kind"] == "NetworkPolicy")
    ours = yaml.safe_load((PLAIN / "networkpolicy.yaml").read_text())
    findings.check(policy == ours, "networkpolicy.yaml is not what the chart makes")


def generated(write, findings):
    objects = render("entrapool-monitoring", {"dashboard": {"enabled": False}})
    text = "# Generated from the chart entrapool-monitoring; `manifests.py --write` writes it anew.\n"
    text += to_yaml(objects)
    if write:
        GENERATED.write_text(text)
    same = GENERATED.exists() and GENERATED.read_text() == text
    findings.check(same, "deploy/kubernetes/monitoring.yaml is old: deploy/checks/manifests.py --write")
    monitor = next(thing for thing in objects if thing["kind"] == "PodMonitor")
    deployment = yaml.safe_load_all((PLAIN / "deployment.yaml").read_text())
    _, metadata, spec = next(pods(list(deployment)))
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    findings.check(wanted <= metadata["labels"].items(), "the PodMonitor does not select the pod")
    ports = {port["name"] for port in sidecar(spec)["ports"]}
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        findings.check(endpoint["port"] in ports, f"the PodMonitor asks for {endpoint['port']}")


def versions(findings):
    manifest = (DEPLOY.parent / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"$', manifest, re.MULTILINE)[1]
    for chart in ("entrapool", "entrapool-monitoring"):
        said = yaml.safe_load((HELM / chart / "Chart.yaml").read_text())
        findings.check(str(said["appVersion"]) == version, f"chart {chart} is for {said['appVersion']}")
    tag = yaml.safe_load((HELM / "entrapool/values.yaml").read_text())["image"]["tag"]
    findings.check(tag == version, f"the chart's image is {tag}")
    for path in PLAIN.glob("*.yaml"):
        for image in re.findall(r"/entrapool:(\S+)", path.read_text()):
            findings.check(image == version, f"{path.name} has image {image}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    findings = Findings()
    generated(options.write, findings)
    charts(findings)
    plain(findings)
    versions(findings)
    for what in findings.wrong:
        print(what, file=sys.stderr)
    print(f"{findings.objects} objects, Kubernetes {' and '.join(VERSIONS)}, {len(findings.wrong)} faults")
    sys.exit(1 if findings.wrong or not findings.objects else 0)


if __name__ == "__main__":
    main()
