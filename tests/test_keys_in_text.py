"""What looks like a key is found and hidden, code is not taken for one, and no text makes that slow."""

import pytest

from mesh.keys_in_text import hide_keys, keys_in

KEYS = {
    "a key of AWS": "AKIA" + "A1" * 8,
    "a key of GitHub": "ghp_" + "a1B2" * 9,
    "a key of Slack": "xoxb-" + "1234567890" * 2,
    "a key of Google": "AIza" + "a1B2_" * 7,
    "a key of Hugging Face": "hf_" + "abc" * 10,
    "a key of a model's provider": "sk-ant-" + "a1B2c3D4" * 3,
    "a seed of NATS": "SU" + "ABCDEFG2" * 7,
    "a token (JWT)": f"eyJ{'a' * 12}.eyJ{'b' * 12}.{'c' * 12}",
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("what", KEYS)
def test_a_key_is_found_with_its_line_and_hidden(what: str) -> None:
    text = f"first = 1\nKEY = '{KEYS[what]}'\n"
    assert [(found.what, found.line) for found in keys_in(text.encode())] == [(what, 2)]
    assert list(keys_in(text.encode(), before=text.encode())) == []
    assert hide_keys(text) == "first = 1\nKEY = '[secret]'\n"


def test_code_is_not_taken_for_a_key() -> None:
    code = (
        b"from sk_learn import pk\nask_for_a_much_longer_name_than_usual = risk-taking_without_any_number_in_its_name\n"
    )
    assert list(keys_in(code)) == []


@pytest.mark.parametrize("part", ["eyJ-", "sk-", "sk-a-", "ghp_", "-----BEGIN A ", "SUA"])
@pytest.mark.timeout(60)
def test_a_text_that_nearly_has_a_million_keys_is_read_in_one_go(part: str) -> None:
    assert list(keys_in(part.encode() * (4_000_000 // len(part)))) == []
