"""The file of webhooks: what it may say, and what is refused in one sentence."""

import base64
from pathlib import Path

import pytest

from gateway.webhooks.hooks_file import read_hooks
from mesh.errors import BadInput

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
WHOLE = f'[[hook]]\nname = "chat"\nurl = "https://example.org/in"\nsecret = "{SECRET}"\n'


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "hooks.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_file_of_hooks_is_read(tmp_path: Path) -> None:
    text = WHOLE + 'kinds = ["run.*", "note.posted"]\narenas = ["digits"]\nheaders = { Authorization = "Bearer x" }\n'
    [found] = read_hooks(written(tmp_path, text))
    assert found.key == KEY
    assert set(found.kinds) >= {"run.finished", "note.posted"}
    assert "Bearer" not in repr(found)
    [plain] = read_hooks(written(tmp_path, WHOLE.replace(f'secret = "{SECRET}"', 'secret_env = "S"')), {"S": SECRET})
    assert (plain.key, set(plain.kinds)) == (KEY, {"arena.closed", "proposal.promoted"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"has no \[\[hook\]\]"),
        ("[[hook]", "is not valid"),
        (WHOLE + "kind = []\n", "kind"),
        (WHOLE + WHOLE, "two hooks with the name 'chat'"),
        (WHOLE.replace("chat", "../x"), "has the name '../x'"),
        (WHOLE.replace("https://example.org", "http://example.org"), "use https://HOST/PATH"),
        (WHOLE.replace("https://example.org/in", "file:///etc/passwd"), "use https://HOST/PATH"),
        (WHOLE.replace("https://example.org", "https://u:p@example.org"), "password in its url"),
        (WHOLE.replace("https://example.org", "https://example.org:99999"), "not valid"),
        (WHOLE.replace(SECRET, "abc"), "24 to 64 bytes in base64"),
        (WHOLE.replace(SECRET, "whsec_YWJj"), "24 to 64 bytes in base64"),
        (WHOLE + 'secret_env = "S"\n', "one of secret and secret_env"),
        (WHOLE.replace(f'secret = "{SECRET}"', 'secret_env = "S"'), "which is not set"),
        (WHOLE + 'kinds = ["run.finnished"]\n', "no kind of fact; kinds are"),
        (WHOLE + "kinds = []\n", "wants no kind of fact"),
        (WHOLE + 'headers = { Host = "a" }\n', "sets the header 'Host'"),
        (WHOLE + 'headers = { Webhook-Id = "a" }\n', "sets the header 'Webhook-Id'"),
        (WHOLE + 'headers = { a = "b\\r\\nc: d" }\n', "not printable ASCII"),
        (WHOLE + 'ca = "none.pem"\n', "which are not there"),
    ],
)
def test_a_hook_that_is_not_valid_is_refused_in_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        read_hooks(written(tmp_path, text), {})
    assert SECRET not in str(refused.value)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="chmod 600"):
        read_hooks(written(tmp_path, WHOLE, 0o640))
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_hooks(tmp_path / "none.toml")
