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
    assert traffic_of(rows, "MEMBERS") == [Traffic("A/4", "UA", "ann", 7, 70, None)]
    assert traffic_of([rows[0] | {"subscriptions": 3}], "MEMBERS") == [Traffic("A/4", "UA", "ann", 7, 70, 3)]
    assert traffic_of([rows[0] | {"lived_s": 0.5}], "MEMBERS") == [Traffic("A/4", "UA", "ann", 7, 70, None, 0.5)]


def ended(messages: int, connection: str, lived_s: float) -> Traffic:
    return Traffic(connection, "UA", "ann", messages, 0, None, lived_s)


def test_a_flood_over_connections_that_end_before_anybody_looks_is_one_flood() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(0.0, [])
    found: list[Flood] = []
    for turn in range(1, 5):
        found += allowances.flooding(turn * 0.2, [ended(300, str(turn), 0.05)])
    assert found == [Flood("UA", "ann", "flooded the hub: 1,200 messages in 0.8 s")]


def test_what_a_connection_had_sent_before_it_ended_is_counted_once() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(0.0, [sent(0)])
    for second in range(1, 100):
        assert allowances.flooding(float(second), [sent(100 * second)]) == []
    assert allowances.flooding(100.0, [sent(9_950), ended(9_990, "1", 100.0)]) == []  # seen, and heard of, at once
    assert allowances.flooding(101.0, []) == []
    assert allowances.flooding(130.0, [ended(9_990, "1", 100.0)]) == []  # heard of late
    assert allowances.flooding(131.0, [sent(2_000, connection="2")]) == [
        Flood("UA", "ann", "flooded the hub: 2,000 messages in 1.0 s")
    ]


def test_a_connection_that_was_there_before_the_first_look_is_held_against_nobody() -> None:
    allowances = Allowances(ALLOWED)
    allowances.flooding(50.0, [])
    assert allowances.flooding(50.2, [ended(1_000_000, "1", 3600.0)]) == []


def test_who_keeps_too_many_connections_or_subscriptions_floods_though_it_sends_nothing() -> None:
    allowed = Allowance(connections=3, subscriptions=100)

    def seen(count: int, each: int, nkey: str = "UA", name: str = "ann") -> list[Traffic]:
        return [Traffic(f"{nkey}{number}", nkey, name, 0, 0, each) for number in range(count)]

    allowances = Allowances(allowed)
    assert allowances.flooding(0.0, seen(3, 33)) == []
    assert allowances.flooding(1.0, [*seen(3, 33), *seen(3, 33, "UB", "bob"), ended(0, "x", 0.1)]) == []
    assert allowances.flooding(2.0, [*seen(4, 1), *seen(1, 1, "UB", "bob")]) == [
        Flood("UA", "ann", "kept 4 connections to the hub at a time")
    ]
    assert allowances.flooding(3.0, seen(2, 51)) == [Flood("UA", "ann", "kept 102 subscriptions at a time")]
