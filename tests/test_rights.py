"""The table of rights: every kind of fact has a row, and the real server lets those roles post it and no others."""

import subprocess
import sys
from pathlib import Path

import pytest

from mesh.accounts import rights_page
from mesh.accounts.rights import ROLE_NAMES, WHO_POSTS, kinds_without_row, rights_of
from mesh.events import KINDS
from tests.support.extremes import plain_fields, post_of
from tests.support.hub_of_members import Answer, Company, company, is_forbidden, is_stored

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "rights.md"


def test_every_kind_of_fact_has_a_row_that_says_who_posts_it() -> None:
    assert kinds_without_row() == [], "say in mesh/accounts/rights.py which roles post it; () is the hub alone"
    assert set(WHO_POSTS) == set(KINDS)


def test_the_page_of_rights_says_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == rights_page.render(), "run `make events`"
    printed = subprocess.run([sys.executable, "-m", "mesh.accounts.rights_page"], capture_output=True, check=True)
    assert printed.stdout.decode() == rights_page.render()


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_no_list_lets_a_member_answer_or_write_where_it_likes(role: str) -> None:
    rights = rights_of(role)  # type: ignore[arg-type]
    for subject in (*rights.publish, *rights.subscribe):
        first, *rest = subject.split(".")
        assert first not in (">", "*", "$SYS"), subject
        assert "{{" in subject or subject in ("$JS.API.INFO", "_R_.>"), subject
        if first == "mesh":
            assert rest[0] == "{{tag(arena)}}", subject
            assert rest[-1] == "{{name()}}", subject
            assert ">" not in rest, subject
        if rest[1:2] == ["roll"]:
            assert rest == ["{{tag(arena)}}", "roll", "*", "{{name()}}"], subject


async def test_the_server_lets_each_role_post_the_kinds_of_its_rows_and_no_others(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        found: dict[str, set[str]] = {kind: set() for kind in KINDS}
        wrong: list[tuple[str, str, Answer]] = []
        for role in ROLE_NAMES:
            member = await hub.member(role, f"some-{role}")
            for number, kind in enumerate(KINDS, start=1):
                subject, data = _fact(kind, number, member.name, role)
                answer = await member.say(subject, data)
                if is_stored(answer):
                    found[kind].add(role)
                elif not is_forbidden(answer):
                    wrong.append((role, kind, answer))
        assert wrong == []
        assert found == {kind: set(WHO_POSTS[kind]) for kind in KINDS}
        assert await hub.entries() == sum(map(len, WHO_POSTS.values()))


async def test_the_hub_itself_posts_every_kind_for_everybody(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        for number, kind in enumerate(KINDS, start=1):
            assert is_stored(await hub.own.say(*_fact(kind, number, "ann", "hub"))), kind
        assert await hub.entries() == len(KINDS)


async def test_a_role_reads_and_puts_what_its_work_needs(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        await hub.own.say(*_fact("run.requested", 1, "cura", "hub"))
        for role in ROLE_NAMES:
            member = await hub.member(role, f"some-{role}")
            entry = await member.say("$JS.API.DIRECT.GET.MESH_one", b'{"seq":1}')
            assert entry["event"]["kind"] == "run.requested"
            assert "state" in await member.say("$JS.API.STREAM.INFO.MESH_one")
            assert is_stored(await member.say(f"meshobj.one.{role}.0", b"x")) == (role in ("agent", "worker"))
            assert is_stored(await member.say(f"meshcall.one.{role}", b"x")) == (role in ("agent", "curator"))
            assert await _takes_work(hub, role) == (role == "worker")
            assert await member.is_deaf_to("live.one.curve.>") == (role == "worker")
            assert not await member.is_deaf_to("tail.mesh.one.>")


async def test_a_member_hears_the_questions_who_is_here_that_name_it_and_none_that_name_others(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        for role in ROLE_NAMES:
            member = await hub.member(role, f"some-{role}")
            may = any(".roll." in subject for subject in rights_of(role).subscribe)
            heard = {name: not await member.is_deaf_to(f"live.one.roll.*.{name}") for name in ("some-other", "*", ">")}
            assert heard == {"some-other": False, "*": False, ">": False}, role
            assert await member.is_deaf_to(f"live.one.roll.*.some-{role}") != may, role
            assert await member.is_deaf_to(f"live.two.roll.*.some-{role}"), role
            assert may == (role != "observer")


async def _takes_work(hub: Company, role: str) -> bool:
    member = await hub.member(role, f"other-{role}")  # type: ignore[arg-type]
    lane = _lane()
    asked = f"$JS.API.CONSUMER.MSG.NEXT.MESH_one.workers_run-requested-{lane}"
    answer = await member.say(asked, b'{"batch":1,"no_wait":true}')
    assert is_forbidden(answer) or answer["event"]["kind"] == "run.requested", answer
    return not is_forbidden(answer)


def _lane() -> str:
    return str(_fact("run.requested", 1, "cura", "hub")[0].split(".")[4])


def _fact(kind: str, number: int, author: str, role: str) -> tuple[str, bytes]:
    """Return subject and bytes of a plain fact; those of two roles have different keys."""
    fields = plain_fields(kind, number)
    subject, data = post_of(kind, fields, number, arena="one", author=author)
    parts = subject.split(".")
    return ".".join([*parts[:-2], f"{parts[-2]}-{role}", parts[-1]]), data
