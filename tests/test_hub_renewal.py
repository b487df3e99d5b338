"""A hub that another version has made gets the rights of this one when it starts, and keeps who was revoked."""

from pathlib import Path

import anyio
import pytest

from mesh.accounts import account_claims, rights
from mesh.accounts.claims import claims_of, verified_claims
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.issuing import outdated_accounts, renew_accounts, revoke_key, revoked_keys
from mesh.accounts.nkey import new_nkey
from mesh.accounts.rights import OF_MEMBERS, Rights, rights_of
from mesh.errors import BadInput
from mesh.jetstream import connect
from mesh.roll_call import answer_roll_call, roll_call
from mesh_cli.hub.serving import write_current
from tests.support.hub_of_members import member_creds, new_hub, server_of


def earlier_hub(folder: Path, patch: pytest.MonkeyPatch) -> HubFolder:
    """Make a hub as a version did that asked nobody by name."""

    def earlier(role: rights.MemberRole) -> Rights:
        found = rights_of(role)
        return Rights(found.publish, tuple(each for each in found.subscribe if ".roll." not in each))

    with patch.context() as patched:
        patched.setattr(account_claims, "rights_of", earlier)
        patched.setattr(account_claims, "OF_MEMBERS", OF_MEMBERS[:-1])
        return new_hub(folder)


def test_the_accounts_of_another_version_are_signed_again_and_keep_who_was_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, key = earlier_hub(tmp_path / "hub", monkeypatch), new_nkey("user").public
    before = {name: claims_of(hub.claims(name)) for name in ("HUB", "MEMBERS")}
    assert outdated_accounts(hub) == ["HUB", "MEMBERS"]
    revoke_key(hub, key)  # with the rights of this version
    assert outdated_accounts(hub) == ["HUB"]
    assert (renew_accounts(hub), renew_accounts(hub), outdated_accounts(hub)) == (["HUB"], [], [])
    assert list(revoked_keys(hub)) == [key]
    made = new_hub(tmp_path / "made")
    for name in ("HUB", "MEMBERS"):
        claims = verified_claims(hub.claims(name))
        assert (claims["sub"], claims["iss"]) == (before[name]["sub"], hub.key("signer").public)
        assert claims["nats"]["limits"].keys() == claims_of(made.claims(name))["nats"]["limits"].keys()
        assert [each["subject"] for each in claims["nats"]["exports"]] == [
            each["subject"] for each in claims_of(made.claims(name))["nats"]["exports"]
        ]
    assert claims_of(hub.claims("HUB"))["iat"] > before["HUB"]["iat"]  # a server takes no older ones
    assert outdated_accounts(made) == []


def test_without_the_signing_key_a_hub_keeps_the_rights_that_it_has_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = earlier_hub(tmp_path / "hub", monkeypatch)
    (hub.folder / "keys" / "signer.nk").rename(tmp_path / "signer.nk")
    claims, config = hub.claims("MEMBERS"), hub.config_file()
    config.unlink()
    with pytest.raises(BadInput, match=r"has no keys/signer.nk any more: put the file back"):
        renew_accounts(hub)
    write_current(hub)
    assert (hub.claims("MEMBERS"), config.exists()) == (claims, True)
    said = capsys.readouterr().err
    assert said.startswith("mesh: members keep the rights of another version, and nobody calls their roll: the hub ")
    (tmp_path / "signer.nk").rename(hub.folder / "keys" / "signer.nk")
    write_current(hub)
    assert (outdated_accounts(hub), capsys.readouterr().err) == ([], "")


async def test_a_hub_hears_its_members_by_name_once_it_was_started_with_this_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = earlier_hub(tmp_path / "hub", monkeypatch)
    creds, names = member_creds(hub, "worker", "gpu7", ["one"])[0], {"b7": "gpu7"}
    for asked_as in ({}, names):
        with server_of(hub):
            async with (
                connect(hub.own_url, credentials=hub.hub_creds) as own,
                anyio.create_task_group() as tasks,
            ):
                bus = await own.arena("one", create=True)
                async with connect(hub.own_url, credentials=creds) as member:
                    tasks.start_soon(answer_roll_call, await member.arena("one"), "b7", "gpu7")
                    with anyio.fail_after(60):
                        while await roll_call(bus, ["b7"], asked_as) != {"b7"}:
                            await anyio.sleep(0.05)
                    assert (await roll_call(bus, ["b7"], names) == {"b7"}) == bool(asked_as)
                    tasks.cancel_scope.cancel()
        write_current(hub)
