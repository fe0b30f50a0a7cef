"""Renders a chart of deploy/helm, as `helm template` does, and writes YAML or JSON.

    render.py [--release NAME] [--set-json JSON] [--json] CHART

CHART is the name of a folder in deploy/helm, or the path of a file of plain manifests, which is only
read. Dependencies on charts beside it are brought in a copy, so that nothing is left in the tree. No
cluster is asked.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import helm_python as helm
import yaml

HELM = Path(__file__).resolve().parent.parent / "helm"


def complete(chart, into):
    """A copy of the chart with its neighbours in charts/."""
    copy = Path(into) / chart
    shutil.copytree(HELM / chart, copy)
    for dependency in yaml.safe_load((copy / "Chart.yaml").read_text()).get("dependencies", []):
        prefix = "file://../"
        if not dependency["repository"].startswith(prefix):
            raise SystemExit(f"{chart}: only charts beside it can be brought, not {dependency}")
        name = dependency["repository"].removeprefix(prefix)
        shutil.copytree(HELM / name, copy / "charts" / name)
    return copy


def render(chart, values=None, release="my-app", namespace="default"):
    """All objects of a chart, in the order of its files."""
    with tempfile.TemporaryDirectory() as folder:
        with helm.Chart.load(str(complete(chart, folder))) as loaded:
            loaded.validate_schema(values or {})
            files = loaded.render(values=values or {}, name=release, namespace=namespace)
    return [
        document
        for _, text in sorted(files.items())
        for document in yaml.safe_load_all(text)
        if document
    ]


def lint(chart):
    """What `helm lint --strict` says."""
    with tempfile.TemporaryDirectory() as folder:
        return helm.lint(str(complete(chart, folder)), strict=True)


class Dumper(yaml.SafeDumper):
    """No anchors, and texts of several lines as such."""

    def ignore_aliases(self, data):
        return True


def block(dumper, text):
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, block)


def to_yaml(objects):
    return yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", default="my-app")
    parser.add_argument("--set-json", default="{}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("chart")
    options = parser.parse_args()
    if options.chart.endswith(".yaml"):
        objects = list(yaml.safe_load_all(Path(options.chart).read_text()))
    else:
        objects = render(options.chart, json.loads(options.set_json), options.release)
    if options.json:
        json.dump(objects, sys.stdout)
    else:
        sys.stdout.write(to_yaml(objects))


if __name__ == "__main__":
    main()
