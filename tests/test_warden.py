"""Who floods: the allowance of a member as a bucket, with the server's own counts."""

from gateway.warden import Allowance, Allowances, Flood, Traffic, traffic_of

ALLOWED = Allowance(messages=1000, messages_per_s=100, bytes=1e6, bytes_per_s=1e5)


def sent(messages: int, size: int = 0, connection: str = "1", nkey: str = "UA", name: str = "ann") -> Traffic:
    return Traffic(connection, nkey, name, messages, size)


def test_what_was_sent_before_the_first_look_is_held_against_nobody() -> None:
    allowances = Allowances(ALLOWED)
    assert allowances.flooding(0.0, [sent(1_000_000)]) == []
    assert allowances.flooding(0.2, [sent(1_000_100)]) == []


def test_a_member_may_send_a_burst_and_then_at_a_steady_rate_for_ever() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(0.0, [sent(0)])
    total = 900
    for second in range(1, 1000):
        assert allowances.flooding(float(second), [sent(total)]) == []
        total += 100


def test_a_member_that_sends_more_than_its_burst_floods_and_is_told_how_much() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(10.0, [sent(50)])
    found = allowances.flooding(10.2, [sent(50_050)])
    assert found == [Flood("UA", "ann", "flooded the hub: 50,000 messages in 0.2 s")]


def test_a_flood_over_many_connections_that_come_and_go_is_one_flood() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(0.0, [])
    found: list[Flood] = []
    for turn in range(1, 5):
        found += allowances.flooding(turn * 0.2, [sent(300, connection=str(turn))])
    assert [each.name for each in found] == ["ann"]


def test_a_flood_of_few_large_messages_is_one_as_well() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(0.0, [sent(0)])
    found = allowances.flooding(1.0, [sent(10, 3_000_000)])
    assert found == [Flood("UA", "ann", "flooded the hub: 3 MB in 1.0 s")]


def test_honest_members_beside_a_flood_are_not_taken_for_it() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(0.0, [])
    seen = [sent(40, connection=f"h{n}", nkey=f"U{n}", name=f"honest-{n}") for n in range(50)]
    found = allowances.flooding(0.2, [*seen, sent(9_000, connection="m", nkey="UM", name="mallory")])
    assert [each.name for each in found] == ["mallory"]


def test_only_connections_of_members_are_looked_at() -> None:
    rows = [
        {"cid": 4, "account": "MEMBERS", "nkey": "UA", "member": "ann", "in_msgs": 7, "in_bytes": 70, "server": "A"},
        {
            "cid": 5,
            "account": "HUB",
            "nkey": "UH",
            "member": "hub",
            "in_msgs": 1_000_000,
            "in_bytes": 1,
            "server": "A",
        },
    ]
    assert traffic_of(rows, "MEMBERS") == [Traffic("A/4", "UA", "ann", 7, 70)]
