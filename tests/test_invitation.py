"""An invitation as a line that is pasted, and the sentences for one that was not copied whole."""

import os

import pytest

from mesh.errors import BadInput
from mesh.invitation import Invitation, read_invitation

SECRET, FINGERPRINT = bytes(range(16)), bytes(range(32))


@pytest.mark.parametrize("place", ["10.0.0.5:8443", "hub.example.org:443", "[2001:db8::1]:8443", "h:1"])
def test_an_invitation_says_what_it_was_made_of(place: str) -> None:
    made = Invitation(SECRET, FINGERPRINT, place)
    assert read_invitation(f"  {made}\n") == made
    assert str(made).startswith("mesh1_")


def test_an_invitation_to_an_address_is_a_line_of_some_ninety_characters() -> None:
    assert len(str(Invitation(SECRET, FINGERPRINT, "203.0.113.7:8443"))) == 93


def test_an_invitation_hides_its_secret_where_it_is_printed_by_mistake() -> None:
    made = Invitation(os.urandom(16), os.urandom(32), "hub:8443")
    assert repr(made) == "Invitation(place='hub:8443')"


def test_every_part_of_an_invitation_that_was_cut_off_is_refused() -> None:
    whole = str(Invitation(SECRET, FINGERPRINT, "203.0.113.7:8443"))
    for length in range(len(whole)):
        with pytest.raises(BadInput, match=r"not (a whole|an) invitation"):
            read_invitation(whole[:length])


@pytest.mark.parametrize("text", ["", "mesh1_", "mesh2_AAAA", "mesh1_****", "mesh1_" + "A" * 200, "mesh1_ü", "hello"])
def test_what_is_not_an_invitation_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_invitation(text)
    assert "\n" not in str(refused.value)
    assert "invitation" in str(refused.value)
