"""Packages of others that bear a name of ours are named with the cure, wherever they lie."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh import own_packages
from mesh.errors import BadInput
from mesh.own_packages import CURE, Foreign

ROOT = Path(own_packages.__file__).parents[1]


def a_distribution(folder: Path, package: str, *, title: str = "openai-agents", version: str = "0.9.1") -> Path:
    """Lay out a package as pip installs it, and return the folder that belongs on the search path."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("class Agent: ...\n")
    about = folder / f"{title.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {title}\nVersion: {version}\n")
    (about / "RECORD").write_text(f"{package}/__init__.py,,\n{about.name}/METADATA,,\n{about.name}/RECORD,,\n")
    return folder


def program(*words: str, first: Path, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of ours with `first` in front of its search path."""
    environ = {**os.environ, "MESH_HOME": str(home), "PYTHONPATH": os.pathsep.join((str(first), str(ROOT)))}
    command = [sys.executable, "-P", "-m", *words]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False)


def test_without_packages_of_others_all_is_well() -> None:
    own_packages.check_own()
    assert own_packages.foreign_packages() == []


def test_a_package_in_front_of_ours_shadows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(a_distribution(tmp_path / "site", "agents"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "agents"]:
        monkeypatch.delitem(sys.modules, name)
    where = str(tmp_path / "site" / "agents")
    assert own_packages.foreign_packages() == [Foreign("agents", where, "openai-agents 0.9.1", "shadows")]
    with pytest.raises(BadInput) as refused:
        own_packages.check_own("agents")
    assert str(refused.value) == (
        f"Python imports the package agents of openai-agents 0.9.1 at {where} instead of ours: {CURE}"
    )


@pytest.mark.parametrize("package", ["mesh", "agents", "gpu_worker", "analytics", "gateway", "mesh_client", "mesh_cli"])
def test_a_package_behind_ours_is_hidden_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    site = a_distribution(tmp_path / "site", package, title="theirs", version="2")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    assert own_packages.foreign_packages() == [Foreign(package, str(site / package), "theirs 2", "hidden")]
    own_packages.check_own(package)


def test_a_module_or_a_package_that_nobody_has_installed_counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "analytics.py").write_text("")
    (tmp_path / "agents").mkdir()  # without __init__.py it stands behind every package
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert own_packages.foreign_packages() == [Foreign("analytics", str(tmp_path / "analytics.py"), "", "hidden")]


def test_the_users_own_folder_is_no_trouble_as_long_as_ours_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_distribution(tmp_path, "agents")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert own_packages.foreign_packages() == []


def test_packages_that_were_installed_into_one_folder_are_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = a_distribution(tmp_path / "theirs", "agents") / "openai_agents-0.9.1.dist-info"
    ours = tmp_path / "site"
    ours.mkdir()
    for name in own_packages.NAMES:
        (ours / name).symlink_to(ROOT / name)  # stands for one folder that holds both
    about.rename(ours / about.name)
    monkeypatch.setattr(sys, "path", [*sys.path, str(ours)])
    assert own_packages.foreign_packages() == [Foreign("agents", str(ROOT / "agents"), "openai-agents 0.9.1", "mixed")]


def test_doctor_names_it_with_its_cure(tmp_path: Path, home: Path) -> None:
    site = a_distribution(tmp_path / "site", "agents")
    ended = program("mesh_cli", "doctor", "--json", first=site, cwd=tmp_path, home=home)
    rows = [row for row in json.loads(ended.stdout) if row["name"] == "packages"]
    what = f"the package agents of openai-agents 0.9.1 at {site / 'agents'} is imported instead of ours"
    assert (ended.returncode, [row["state"] for row in rows]) == (1, ["fail"])
    assert rows[0]["what"].startswith(what)
    assert rows[0]["cure"] == CURE


@pytest.mark.parametrize(
    "words",
    [("mesh.agent", "explorer", "--arena", "a"), ("mesh_cli", "up", "digits")],
)
def test_a_role_in_whose_place_another_package_stands_is_one_sentence(
    tmp_path: Path, home: Path, words: tuple[str, ...]
) -> None:
    site = a_distribution(tmp_path / "site", "agents")
    ended = program(*words, first=site, cwd=tmp_path, home=home)
    assert (ended.returncode, ended.stdout) == (2, "")
    last = ended.stderr.splitlines()[-1]
    assert "Python imports the package agents of openai-agents 0.9.1" in last
    assert last.endswith(f"instead of ours: {CURE}")
    assert "Traceback" not in ended.stderr
    assert not (home / "server").exists()


def test_another_package_called_mesh_is_one_sentence_of_every_command(tmp_path: Path, home: Path) -> None:
    site = a_distribution(tmp_path / "site", "mesh", title="mesh")
    ended = program("mesh_cli", "status", first=site, cwd=tmp_path, home=home)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"mesh: Python imports another package called mesh, at {site / 'mesh'}, instead of ours: {CURE}\n"
    )
