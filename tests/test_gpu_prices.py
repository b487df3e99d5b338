"""The price table: what is read, what is refused, and which price a machine has."""

import datetime as dt
from pathlib import Path

import pytest

from mesh.errors import BadInput
from mesh.gpu_models import gpu_model, is_same_gpu
from mesh.gpu_prices import (
    PRICE_COLUMNS,
    SHIPPED,
    GpuPrice,
    known_prices,
    machine_price,
    newest,
    offers_of,
    prices_file,
    read_gpu_prices,
    written,
)

HEADER = ",".join(PRICE_COLUMNS)
GOOD = "H100-SXM,80,runpod,secure,1,3.99,,2026-11-09,a source"


def table(*lines: str) -> list[GpuPrice]:
    return read_gpu_prices("\n".join([HEADER, *lines]), "t.csv")


def test_the_table_that_comes_with_the_mesh_is_valid_and_survives_being_written(tmp_path: Path) -> None:
    prices = known_prices(tmp_path)
    assert len(prices) > 100
    assert read_gpu_prices(written(prices), "again") == prices
    assert {p.provider for p in prices} >= {"aws", "gcp", "lambda", "runpod", "vast"}


def test_no_spot_price_of_the_table_is_zero_or_above_the_price_on_demand() -> None:
    for price in read_gpu_prices(SHIPPED.read_text(), "shipped"):
        assert price.spot_usd is None or 0 < price.spot_usd < (price.on_demand_usd or 1e9), price


@pytest.mark.parametrize("spot", ["0", "0.00", "3.99", "5"])
def test_a_spot_price_of_nothing_or_of_the_price_on_demand_is_none(spot: str) -> None:
    [price] = table(f"H100,80,vast,,1,3.99,{spot},2026-11-09,s")
    assert (price.on_demand_usd, price.spot_usd) == (3.99, None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (GOOD.replace("3.99", "abc"), "line 3: on_demand_usd_per_gpu_h is 'abc'"),
        (GOOD.replace("3.99", "-1"), "line 3: on_demand_usd_per_gpu_h is '-1'"),
        (GOOD.replace("3.99", "nan"), "line 3: on_demand_usd_per_gpu_h is 'nan'"),
        (GOOD.replace("3.99", "1e300"), "line 3: on_demand_usd_per_gpu_h is '1e300'"),
        (GOOD.replace("3.99", ""), "line 3: there is neither a price on demand nor of spot"),
        (GOOD.replace("runpod", ""), "line 3: provider is empty"),
        (GOOD.replace("a source", ""), "line 3: source is empty"),
        (GOOD.replace("2026-11-09", "yesterday"), "line 3: seen is 'yesterday'"),
        (GOOD.replace("2026-11-09", "2026-13-09"), "line 3: seen is '2026-13-09'"),
        (GOOD.replace("2026-11-09", "2999-01-01"), "line 3: seen is '2999-01-01'"),
        (GOOD + ",more", "line 3: 10 fields, but the header has 9"),
        (GOOD.replace("secure", '"secure'), "line 3: not CSV"),
        (GOOD.replace("secure", "se\x1bcure"), "line 3: tier has more than 200 characters, or ones that cannot"),
        (GOOD.replace("secure", "s" * 300), "line 3: tier has more than 200 characters, or ones that cannot"),
    ],
)
def test_a_bad_line_is_refused_in_a_sentence_that_names_it(line: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        table(GOOD, line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "gpu,price\nH100,1\n", "\x00\x00", HEADER])
def test_what_is_not_a_table_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"t\.csv"):
        read_gpu_prices(text, "t.csv")


def test_the_columns_may_come_in_any_order() -> None:
    turned = ",".join(reversed(PRICE_COLUMNS)) + "\n" + ",".join(reversed(GOOD.split(",")))
    assert read_gpu_prices(turned, "t.csv") == table(GOOD)


def test_the_age_of_a_price_is_the_most_that_it_can_be() -> None:
    today = dt.date(2026, 11, 27)
    ages = [price.age_days(today) for price in table(GOOD, GOOD.replace("2026-11-09", "2025-12/2026-10"))]
    assert ages == [18, (today - dt.date(2025, 12, 1)).days]


def test_the_newest_price_of_an_offer_is_in_force() -> None:
    prices = table(GOOD.replace("3.99", "3.49").replace("2026-11-09", "2026-09-25"), GOOD, GOOD.replace("secure", "x"))
    assert [(price.tier, price.on_demand_usd) for price in newest(prices)] == [("secure", 3.99), ("x", 3.99)]


@pytest.mark.parametrize(
    ("driver", "memory_gb", "listed"),
    [
        ("NVIDIA H100 80GB HBM3", 79.6, {"H100", "H100-SXM"}),
        ("NVIDIA H100 PCIe", 79.6, {"H100", "H100-PCIe"}),
        ("NVIDIA H100 NVL", 93.6, {"H100-NVL"}),
        ("NVIDIA H200", 140.4, {"H200"}),
        ("NVIDIA A100-SXM4-80GB", 80.0, {"A100-80GB", "A100-80GB-SXM"}),
        ("NVIDIA A100 80GB PCIe", 80.0, {"A100-80GB", "A100-80GB-PCIe"}),
        ("NVIDIA A100-PCIE-40GB", 40.0, {"A100-40GB"}),
        ("NVIDIA GH200 480GB", 95.6, {"GH200"}),
        ("NVIDIA GeForce RTX 4090", 24.0, {"RTX4090"}),
        ("NVIDIA RTX A6000", 48.0, {"A6000", "RTXA6000"}),
        ("NVIDIA RTX 6000 Ada Generation", 48.0, {"RTX6000Ada"}),
        ("Quadro RTX 6000", 24.0, {"RTX6000"}),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 95.6, {"RTXPRO6000"}),
        ("Tesla V100-SXM2-16GB", 16.0, {"V100"}),
        ("NVIDIA L40S", 45.0, {"L40S"}),
        ("NVIDIA L40", 45.0, {"L40"}),
        ("Tesla T4", 15.0, {"T4"}),
        ("cpu", None, set()),
        ("", None, set()),
        ("cuda-host", None, set()),
    ],
)
def test_a_driver_and_the_price_list_mean_the_same_gpu(driver: str, memory_gb: float | None, listed: set[str]) -> None:
    prices = read_gpu_prices(SHIPPED.read_text(), "shipped")
    assert {price.gpu for price in offers_of(prices, driver, memory_gb)} == listed


def test_what_one_name_leaves_open_does_not_part_two_and_what_both_say_does() -> None:
    assert is_same_gpu(gpu_model("H100"), gpu_model("H100-SXM"))
    assert not is_same_gpu(gpu_model("H100-PCIe"), gpu_model("H100-SXM"))
    assert not is_same_gpu(gpu_model("A100-40GB"), gpu_model("A100-80GB"))


def test_the_form_of_a_gpu_may_stand_in_the_name_of_the_instance_alone() -> None:
    prices = table(
        "H100,,vast,8x-H100_SXM-32 Vietnam,8,2.0,,2026-11-09,s", "H100,,vast,2x-H100_NVL-32,2,2.2,,2026-11-09,s"
    )
    assert [price.gpus for price in offers_of(prices, "NVIDIA H100 80GB HBM3", 79.6)] == [8]
    assert [price.gpus for price in offers_of(prices, "NVIDIA H100 NVL", 93.6)] == [2]


OFFERS = (
    GOOD,
    "H100-SXM,80,runpod,community,1,2.69,1.5,2026-11-09,s",
    "H100-SXM,80,aws,p5.48xlarge us-east-1,8,6.88,,2026-11-09,s",
    "RTX4090,24,runpod,secure,1,0.74,,2026-11-09,s",
)
H100 = "NVIDIA H100 80GB HBM3"


def test_a_machine_costs_what_the_table_says_times_its_gpus() -> None:
    found = machine_price(table(*OFFERS), provider="AWS", device=H100, memory_mb=81559, gpus=8)
    assert found.usd_per_hour == pytest.approx(55.04)
    assert found.source == "aws p5.48xlarge us-east-1 H100-SXM, seen 2026-11-09: s"
    secure = machine_price(table(*OFFERS), provider="runpod", instance="Secure", device=H100, gpus=2)
    assert secure.usd_per_hour == pytest.approx(7.98)
    by_type = machine_price(table(*OFFERS), provider="aws", instance="p5.48xlarge", device=H100, gpus=8)
    assert by_type == found
    spot = machine_price(table(*OFFERS), provider="runpod", instance="community", device=H100, spot=True)
    assert (spot.usd_per_hour, "community H100-SXM spot, seen" in spot.source) == (1.5, True)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"provider": "nobody"}, "--provider is nobody, of which no price is known; there are aws, runpod"),
        ({"provider": "runpod"}, r"several prices .* --instance, one of community \(x1\), secure \(x1\)"),
        ({"provider": "runpod", "instance": "gold"}, "runpod has no gold"),
        ({"provider": "aws", "device": "NVIDIA L4"}, "no price of NVIDIA L4 at aws is known: give --price"),
        ({"provider": "aws", "spot": True}, "aws has no price of NVIDIA H100 80GB HBM3 spot"),
    ],
)
def test_a_price_that_the_table_does_not_have_is_refused_with_what_it_has(asked: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        machine_price(table(*OFFERS), **{"device": H100, **asked})  # type: ignore[arg-type]


def test_a_table_of_the_home_that_is_broken_is_named_and_not_passed_over(tmp_path: Path) -> None:
    prices_file(tmp_path).write_text("gpu\n")
    with pytest.raises(BadInput, match=str(prices_file(tmp_path))):
        known_prices(tmp_path)
