"""Settings: which source wins, what is refused, what is kept secret; and the commands that show and change them."""

import json
import os
import stat
from pathlib import Path

import pytest

from mesh import config, settings
from mesh.config import Contexts, Layer, Value
from mesh.errors import BadInput
from mesh_cli.exit import ExitCode
from tests.test_cli import Done, Lab, Mesh, lab, mesh, refused

__all__ = ["lab", "mesh"]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a project, and a user without settings."""
    for name in [*config.KEYS, "context"]:
        monkeypatch.delenv(config.variable(name), raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    project = tmp_path / "project"
    (project / "deep" / "er").mkdir(parents=True)
    (tmp_path / "user" / "mesh").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "er")
    return tmp_path


def say(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have one source name a server after itself; return the source as it is shown."""
    project, user = folder / "project" / "mesh.toml", folder / "user" / "mesh" / "config.toml"
    match source:
        case "--nats":
            return source
        case "MESH_NATS":
            monkeypatch.setenv("MESH_NATS", "nats://MESH_NATS")
        case "MESH_CONTEXT":
            settings.save_contexts(Contexts(settings.contexts().use, {**settings.contexts().named, **place(source)}))
            monkeypatch.setenv("MESH_CONTEXT", source)
            return f"context {source}"
        case "mesh.toml":
            project.write_text('nats = "nats://mesh.toml"\n')
            return str(project)
        case "context":
            settings.save_contexts(Contexts(source, {**settings.contexts().named, **place(source)}))
            return f"context {source}"
        case "config.toml":
            user.write_text('nats = "nats://config.toml"\n')
            return str(user)
    return source


def place(name: str) -> dict[str, dict[str, str]]:
    return {name: {"nats": f"nats://{name}"}}


ORDER = ["--nats", "MESH_NATS", "MESH_CONTEXT", "mesh.toml", "context", "config.toml"]


@pytest.mark.parametrize("first", range(len(ORDER)), ids=ORDER)
def test_the_first_source_that_says_a_setting_wins(first: int, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [say(source, nowhere, monkeypatch) for source in ORDER[first:]]
    option = "nats://--nats" if first == 0 else None
    assert settings.values(nats=option)["nats"] == Value(f"nats://{ORDER[first]}", shown[0])


def test_without_any_source_every_setting_is_its_default(nowhere: Path) -> None:
    assert {key: found.value for key, found in settings.values().items()} == {
        "nats": "",
        "arena": "",
        "credentials": "",
        "home": "",
        "output": "text",
        "log": "text",
        "boards": "swarm",
        "color": "auto",
    }
    assert {found.source for found in settings.values().values()} == {"default"}
    assert settings.home() == nowhere / "project" / "deep" / "er" / ".mesh"


def test_paths_of_a_file_are_those_of_its_folder_and_an_empty_variable_says_nothing(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "project" / "mesh.toml").write_text('home = "store"\ncredentials = "~/me.creds"\n')
    monkeypatch.setenv("MESH_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert settings.home() == nowhere / "project" / "store"
    assert settings.credentials() == Path("/home/me/me.creds")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nast = 'x'", r"config.toml: there is no setting 'nast'; use nats, arena, credentials, home"),
        ("[nats]\nurl = 'x'", r"config.toml: nats is {'url': 'x'}, which is not text"),
        ("nats = 4222", r"config.toml: nats is 4222, which is not text: write it in quotes"),
        ("output = 'yaml'", r"config.toml: output is 'yaml'; use text, json"),
        ('arena = "a\\u001b"', r"config.toml: arena is 'a\\x1b', which contains control characters: remove them"),
        ("nats = ", r"config.toml is not valid TOML: "),
    ],
)
def test_what_is_no_setting_is_an_error_that_names_file_and_key(nowhere: Path, text: str, sentence: str) -> None:
    (nowhere / "user" / "mesh" / "config.toml").write_text(text)
    with pytest.raises(BadInput, match=sentence):
        settings.values()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[context.a]\nhome = 'x'", r"there is no setting 'context.a.home'; use nats, arena, credentials"),
        ("[context.a]\nnats = 1", r"context.a.nats is 1, which is not text"),
        ("context = 1", r"context must contain tables: write each context as a table such as \[context.lab\]"),
        ("use = 'b'\n[context.a]", r"use is 'b', which is not a context in it; it has a"),
        ("uses = 'b'", r"there is no setting 'uses'; use use, context"),
    ],
)
def test_a_file_of_contexts_is_checked_as_strictly(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=f"^contexts.toml: {sentence}"):
        config.read_contexts(text, "contexts.toml")


def test_what_is_written_of_contexts_is_read_back() -> None:
    kept = Contexts('a"b', {'a"b': {"nats": 'nats://u:p"\\@h'}, "c": {"arena": "tiny", "nats": "h"}})
    assert config.read_contexts(config.write_contexts(kept), "f") == kept


def test_a_variable_that_is_none_of_its_words_is_refused(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_OUTPUT", "xml")
    with pytest.raises(BadInput, match=r"^MESH_OUTPUT is 'xml'; use text, json$"):
        settings.values()


def test_credentials_are_shown_to_no_server_but_the_one_named_beside_them() -> None:
    user = Layer("user", {"nats": "mine", "credentials": "/me.creds"})
    project = Layer("mesh.toml", {"nats": "theirs"})
    environment = Layer("environment", {"credentials": "/env.creds"}, is_environment=True)
    assert config.resolve([user])["credentials"] == Value("/me.creds", "user")
    unused = Value("", "those in user are not used: mesh.toml names the server")
    assert config.resolve([project, user])["credentials"] == unused
    assert config.resolve([Layer("--nats", {"nats": "n"}), environment, user])["credentials"] == Value(
        "/env.creds", "MESH_CREDENTIALS"
    )
    assert config.resolve([Layer("a", {"arena": "x"}), user])["credentials"].value == "/me.creds"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("nats://user:pass@host:4222", "nats://***@host:4222"),
        ("nats://token@host", "nats://***@host"),
        ("tls://u:p@a,nats://u:p@b,nats://c", "tls://***@a,nats://***@b,nats://c"),
        ("nats://u:pa,ss@rd@host", "nats://***@host"),
        ("user:pass@host", "***@host"),
        ("nats://host", "nats://host"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(address: str, shown: str) -> None:
    assert config.hide(address) == shown


def test_contexts_are_kept_used_shown_and_forgotten_in_a_file_of_the_user_alone(
    nowhere: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = os.umask(0)
    try:
        assert mesh("context", "add", "lab", "--nats", "nats://ann:geheim@lab:4222", "--arena", "tiny") == Done(
            0, "", ""
        )
    finally:
        os.umask(old)
    assert stat.S_IMODE(settings.contexts_file().stat().st_mode) == 0o600
    assert [path.name for path in settings.config_dir().iterdir()] == ["contexts.toml"]
    assert mesh("context", "add", "home", "--nats", "127.0.0.1").code == 0
    assert settings.values()["nats"].value == ""
    refused(mesh("context", "show"), ExitCode.BAD_INPUT, "no context is in use")
    assert mesh("context", "use", "lab") == Done(0, "", "")
    assert mesh("context", "list").out == "  home             127.0.0.1\n* lab              nats://***@lab:4222  tiny\n"
    rows = json.loads(mesh("context", "list", "--json").out)
    assert [(row["name"], row["nats"], row["used"]) for row in rows] == [
        ("home", "127.0.0.1", False),
        ("lab", "nats://***@lab:4222", True),
    ]
    assert "nats         nats://***@lab:4222\n" in mesh("context", "show").out
    shown = {row["setting"]: row for row in json.loads(mesh("config", "show", "--json").out)}
    assert shown["nats"] == {"setting": "nats", "value": "nats://***@lab:4222", "source": "context lab"}
    assert settings.value("nats") == "nats://ann:geheim@lab:4222"
    monkeypatch.setenv("MESH_CONTEXT", "home")
    assert settings.value("nats") == "127.0.0.1"
    monkeypatch.setenv("MESH_CONTEXT", "nowhere")
    refused(mesh("config", "show"), ExitCode.BAD_INPUT, "MESH_CONTEXT is 'nowhere', which is not a context")
    monkeypatch.delenv("MESH_CONTEXT")
    assert mesh("context", "use", "--none").code == 0
    assert settings.value("nats") == ""
    assert mesh("context", "use", "lab").code == 0
    assert mesh("context", "remove", "lab").code == 0
    assert settings.contexts() == Contexts("", {"home": {"nats": "127.0.0.1"}})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["use", "lab"], r"'lab' is not a context; use mesh context add to make one"),
        (["use"], "name a context to use, or use --none"),
        (["use", "lab", "--none"], "name a context to use, or use --none"),
        (["remove", "lab"], "'lab' is not a context"),
        (["show", "lab"], "'lab' is not a context"),
        (["add", "a b", "--nats", "x"], "context is 'a b'; use 1 to 128 letters"),
        (["add", "lab", "--nats", "ftp://u:p@x"], r"'ftp://\*\*\*@x' is not a valid address of a NATS server"),
        (["add", "lab", "--nats", "ftp://x"], "'ftp://x' is not a valid address of a NATS server"),
        (["add", "lab", "--nats", "x", "--arena", "a.b"], "arena is 'a.b'; use 1 to 128 letters"),
        (["add", "lab", "--nats", "x", "--creds", "/none.creds"], "credentials /none.creds cannot be read"),
        (["add", "lab"], "--nats"),
    ],
)
def test_a_context_that_cannot_be_is_refused(nowhere: Path, mesh: Mesh, words: list[str], sentence: str) -> None:
    refused(mesh("context", *words), ExitCode.BAD_INPUT, sentence)
    assert not settings.contexts_file().exists()


def test_a_file_of_contexts_that_others_can_read_is_warned_of(nowhere: Path, mesh: Mesh) -> None:
    mesh("context", "add", "lab", "--nats", "lab")
    settings.contexts_file().chmod(0o644)
    done = mesh("context", "list")
    assert (done.code, done.out) == (0, "  lab              lab\n")
    assert "other users can read" in done.err
    assert mesh("context", "add", "lab", "--nats", "lab2").code == 0
    assert settings.is_private(settings.contexts_file())


def test_a_folder_that_cannot_be_written_is_one_sentence(
    nowhere: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null/config")
    refused(mesh("context", "add", "lab", "--nats", "lab"), ExitCode.BAD_INPUT, "contexts.toml cannot be written")


def test_config_show_says_where_each_value_is_from(nowhere: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "project" / "mesh.toml").write_text('arena = "tiny"\n')
    monkeypatch.setenv("MESH_COLOR", "never")
    lines = {line.split()[0]: line.split()[1:] for line in mesh("config", "show").out.splitlines()}
    assert lines["arena"] == ["tiny", str(nowhere / "project" / "mesh.toml")]
    assert lines["color"] == ["never", "MESH_COLOR"]
    assert lines["output"] == ["text", "default"]
    assert lines["home"] == [str(Path.cwd() / ".mesh"), "found"]


def test_listings_print_json_unasked_where_the_setting_says_so(
    lab: Lab, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_OUTPUT", "json")
    assert json.loads(mesh("status").out)["arena"] == "tiny"
    assert [row["title"] for row in json.loads(mesh("lineage").out)][-1] == "as it is"
    assert mesh("sql", "SELECT 1 AS one", "--csv").out.split() == ["one", "1"]
    assert mesh("lineage", "--dot").out.startswith("digraph")
    monkeypatch.setenv("MESH_OUTPUT", "text")
    assert mesh("status").out.startswith("arena ")


def test_the_arena_and_the_server_of_the_settings_are_used(
    lab: Lab, mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh.toml").write_text(f'nats = "{lab.url}"\narena = "nothing"\n')
    refused(mesh("status"), ExitCode.BAD_INPUT, r"there is no arena 'nothing' on nats://.* \(there are: tiny\)")
    assert json.loads(mesh("status", "--arena", "tiny", "--json").out)["champion"] == lab.better
    (tmp_path / "mesh.toml").write_text("nats = 1\n")
    refused(mesh("status"), ExitCode.BAD_INPUT, "mesh.toml: nats is 1, which is not text")
