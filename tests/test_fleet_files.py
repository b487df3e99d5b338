"""The files of `deploy/` for fleets, each by the schema or the parser of the system that reads it."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.follower import ROOT

DEPLOY = ROOT / "deploy"
JOINING = [
    "colab.ipynb",
    "compose.yaml",
    "kubernetes/workers.yaml",
    "ray_fleet.py",
    "skypilot.yaml",
    "slurm.sbatch",
    "systemd/mesh-worker.service",
]
"""Files that start workers."""
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", JOINING)
def test_each_file_joins_with_an_invitation_that_is_no_part_of_it_and_ends_by_itself(name: str) -> None:
    text = read(name)
    assert re.search(r"mesh\S* join |\bjoin \"\$MESH_TOKEN\"", text)
    assert "--yes" in text
    assert "--idle-stop" in text
    assert not re.search(r"mesh1_[A-Za-z0-9_-]", text)


FILES = re.compile(r"`([\w@./-]+(?:\.(?:yaml|service|sbatch|py|ipynb|conf)|/))`")


@pytest.mark.parametrize("page", ["deploy/README.md", "docs/howto/fleets.md"])
def test_the_page_says_of_every_file_when_and_names_no_other(page: str) -> None:
    there = {path.relative_to(DEPLOY) for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".md"}
    rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = {Path(name) for row in rows for name in FILES.findall(row)}
    assert [name for name in named if not (DEPLOY / name).exists()] == []
    left = {file for file in there if file not in named and file.parent not in named}
    assert [file for file in left if file.suffix != ".conf"] == []  # servers are no part of a fleet


def scaled_job() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(read("kubernetes/workers.yaml"))
    return manifest


def test_kubernetes_takes_the_job_and_knows_every_field_of_it() -> None:
    import kubernetes_validate

    template = scaled_job()["spec"]["jobTargetRef"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "worker"}, "spec": template}
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(job, newest, strict=True)
    pod = template["template"]["spec"]
    assert (pod["terminationGracePeriodSeconds"], pod["restartPolicy"], template["backoffLimit"]) == (60, "Never", 0)
    [worker] = pod["containers"]
    assert "--idle-stop 2m" in worker["args"][0]
    assert worker["env"][0]["valueFrom"] == {"secretKeyRef": {"name": "mesh-fleet", "key": "token"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**job, "spec": {**template, "backofLimit": 0}}, newest, strict=True)


def test_keda_takes_the_scaled_job_and_knows_every_field_of_it() -> None:
    from cloudcoil.models.keda.v1alpha1 import ScaledJob

    manifest = scaled_job()
    # Quantities are Kubernetes' own; the models of KEDA's definition cannot read them.
    pod = manifest["spec"]["jobTargetRef"]["template"]["spec"]
    for container in pod["containers"]:
        del container["resources"]
    for volume in pod["volumes"]:
        volume.get("emptyDir", {}).pop("sizeLimit", None)

    def kept(spec: dict[str, Any]) -> Any:
        """Return what KEDA's definition knows of the part beside the job and the words of triggers."""
        read_back = ScaledJob.model_validate({**manifest, "spec": spec})
        return read_back.model_dump(by_alias=True, exclude_unset=True)["spec"]

    assert kept(manifest["spec"]) == manifest["spec"]
    with pytest.raises(ValueError, match="triggers"):
        kept({name: value for name, value in manifest["spec"].items() if name != "triggers"})
    misspelled = {**manifest["spec"], "maxReplicasCount": 8}
    assert kept(misspelled) != misspelled


def test_the_notebook_is_one() -> None:
    import nbformat

    notebook = nbformat.reads(read("colab.ipynb"), as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    with pytest.raises(nbformat.ValidationError):
        nbformat.validate({**notebook, "cells": [{"cell_type": "code", "id": "x"}]})
    assert all(not cell.get("outputs") for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compile("\n".join(line for line in cell.source.splitlines() if line[:1] not in "%!"), "cell", "exec")


@pytest.mark.parametrize("name", ["slurm.sbatch"])
def test_bash_takes_the_script(name: str) -> None:
    done = subprocess.run(["bash", "-n", str(DEPLOY / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", read(name), re.MULTILINE))
    assert (options["array"], options["gres"], options["signal"], options["requeue"]) == (
        "1-8",
        "gpu:1",
        "B:TERM@60",
        "",
    )
    assert read(name).startswith("#!/bin/bash\n")


def shell_words(name: str) -> list[str]:
    """Return the shell programs inside of a file."""
    if name == "compose.yaml":
        services = yaml.safe_load(read(name))["services"].values()
        return [service["command"][2].replace("$$", "$") for service in services]
    if name == "skypilot.yaml":
        task = yaml.safe_load(read(name))
        return [task["setup"], task["run"]]
    return yaml.safe_load(read(name))["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]["args"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["compose.yaml", "skypilot.yaml", "kubernetes/workers.yaml"])
def test_the_shell_takes_the_programs_inside_of_a_file(name: str) -> None:
    for program in shell_words(name):
        done = subprocess.run(["sh", "-n"], input=program, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), program


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_unit(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(text)
    assert parser.sections() == ["Unit", "Service", "Install"]
    if not (verify := shutil.which("systemd-analyze")):
        return  # `systemd-analyze verify` is of Debian's package systemd
    here = tmp_path / path.name.replace("@.", "@curator.")
    here.write_text(text.replace("/opt/mesh/bin/", f"{Path(sys.executable).parent}/").replace("User=mesh", "User=root"))
    done = subprocess.run([verify, "verify", "--man=no", str(here)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if here.name in line]
    assert [line for line in complaints if "'DelegateSubgroup'" not in line] == []  # systemd knows it from 254 on
    here.write_text(here.read_text().replace("Restart=", "Restrat="))
    broken = subprocess.run([verify, "verify", "--man=no", str(here)], capture_output=True, text=True, check=False)
    assert "Restrat" in broken.stderr


def test_ray_starts_nothing_without_an_invitation() -> None:
    script = str(DEPLOY / "ray_fleet.py")
    compile(read("ray_fleet.py"), script, "exec")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env={"MESH_TOKEN": ""})
    assert (done.returncode, "MESH_TOKEN is empty" in done.stderr) == (2, True)


def test_docker_compose_takes_the_file_and_every_service_has_what_it_names() -> None:
    from compose_spec import PyCompose

    compose = yaml.safe_load(read("compose.yaml"))
    read_back = PyCompose.from_yaml(yaml.safe_dump(compose))
    assert sorted(read_back.service_names()) == ["cpu-worker", "critic", "curator", "explorer", "worker"]
    for name, service in compose["services"].items():
        secrets = {each["source"] if isinstance(each, dict) else each for each in service["secrets"]}
        assert secrets <= compose["secrets"].keys(), name
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= compose["volumes"].keys(), name
    misspelled = {**compose["services"]["worker"], "stop_grace_periode": "60s"}
    with pytest.raises(ValueError, match="stop_grace_periode"):
        PyCompose.from_yaml(yaml.safe_dump({**compose, "services": {"worker": misspelled}}))
