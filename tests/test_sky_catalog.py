"""Price lists of SkyPilot: per instance, in rows of every region, with memory in several units."""

import pytest

from mesh.errors import BadInput
from mesh_cli.rental.sky_catalog import SkyCatalog, is_sky_catalog, read_sky_catalog


def info(name: str, count: float, each: int, total: int) -> str:
    """`GpuInfo` as the lists have it: the text of a Python dictionary, in quotes."""
    gpus = [{"Name": name, "Manufacturer": "NVIDIA", "Count": count, "MemoryInfo": {"SizeInMiB": each}}]
    return '"' + str({"Gpus": gpus, "TotalGpuMemoryInMiB": total}) + '"'


def read(header: str, *lines: str) -> SkyCatalog:
    text = "\n".join([header, *lines])
    assert is_sky_catalog(text)
    return read_sky_catalog(text, "vms.csv", provider="Lambda", seen="2026-11-20", source="SkyPilot catalog vms.csv")


LAMBDA = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
VAST = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region"
GOOGLE = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice"


def test_a_price_of_an_instance_becomes_one_per_gpu_in_the_cheapest_region() -> None:
    catalog = read(
        LAMBDA,
        "cpu_4x_generalx,,,4.0,16.0,0.2,europe-central-1,,",
        f"gpu_8x_v100_n,V100,8.0,88.0,448.0,7.00,asia-south-1,{info('V100', 8.0, 16384, 131072)},",
        f"gpu_8x_v100_n,V100,8.0,88.0,448.0,6.32,europe-central-1,{info('V100', 8.0, 16384, 131072)},",
        f"gpu_8x_v100_n,V100,8.0,88.0,448.0,6.32,me-west-1,{info('V100', 8.0, 16384, 131072)},",
    )
    [price] = catalog.prices
    assert (price.gpu, price.gpus, price.on_demand_usd, price.spot_usd) == ("V100", 8, 0.79, None)
    assert (price.tier, price.provider, price.memory_gb) == ("gpu_8x_v100_n europe-central-1", "lambda", 16)
    assert (price.seen, catalog.left_out) == ("2026-11-20", 0)


def test_a_spot_price_of_zero_or_of_the_price_on_demand_is_none() -> None:
    catalog = read(
        VAST,
        f'1x-H200-32-65536,H200,1,32,64.0,{info("H200", 1, 143771, 143771)},2.65,0.00,"France, FR, EU"',
        f"1x_A100-80GB_SECURE,A100-80GB,1.0,8.0,117.0,{info('A100 PCIe', 1, 80, 80)},1.39,1.39,IN",
        f"1H100.80S.32V,H100,1.0,32.0,185.0,{info('H100', 1, 81920, 81920)},2.29,0.8015,FIN-02",
        f"2B300.60V,B300,2.0,60.0,550.0,{info('B300', 2, 268800, 537600)},,4.893,FIN-03",
    )
    found = {price.gpu: (price.on_demand_usd, price.spot_usd, price.memory_gb) for price in catalog.prices}
    assert found == {
        "H200": (2.65, None, 140),
        "A100-80GB": (1.39, None, 80),
        "H100": (2.29, 0.8015, 80),
        "B300": (None, 2.4465, 262),
    }


def test_the_memory_of_several_gpus_is_unknown_where_the_list_does_not_say_of_which() -> None:
    several = f'8x-Tesla_V100-32-65536,V100,8,32,64.0,{info("V100", 8, 131072, 131072)},0.85,0.00,"Sweden, SE, EU"'
    assert [price.memory_gb for price in read(VAST, several).prices] == [None]
    one = f'1x-Tesla_V100-32-65536,V100,1,32,64.0,{info("V100", 1, 16384, 16384)},0.25,0.00,"Sweden, SE, EU"'
    assert [price.memory_gb for price in read(VAST, several, one).prices] == [16, 16]


def test_a_gpu_without_a_machine_is_left_out_and_counted() -> None:
    catalog = read(
        GOOGLE,
        "a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975",
        f",,,A100,1.0,{info('A100', 1, 40960, 40960)},us-central1,us-central1-a,2.93391,1.2",
        f"g2-standard-4,4.0,16.0,L4,1.0,{info('L4', 1, 24576, 24576)},us-central1,us-central1-a,0.70683,0.28",
    )
    assert ([price.gpu for price in catalog.prices], catalog.left_out) == (["L4"], 1)


@pytest.mark.parametrize("text", ["", "nothing", "{'Gpus': []}", "[" * 9999, "__import__('os')", "{'Gpus': 1}"])
def test_a_gpu_info_that_says_nothing_leaves_the_memory_unknown(text: str) -> None:
    [price] = read(LAMBDA, f'g,H100,1,1,1,2.00,r,"{text}",').prices
    assert price.memory_gb is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("g,H100,0,1,1,2.00,r,,", "line 2: AcceleratorCount is '0'"),
        ("g,H100,,1,1,2.00,r,,", "line 2: AcceleratorCount is ''"),
        ("g,H100,1,1,1,free,r,,", "line 2: Price is 'free'"),
        ("g,H100,1,1,1,2.00,r", "line 2: 7 fields, but the header has 9"),
        ("g,,,1,1,2.00,r,,", "has no price of a machine with a GPU"),
        (",H100,1,1,1,2.00,r,,", "has no price of a machine with a GPU"),
    ],
)
def test_a_bad_list_is_refused_in_a_sentence(line: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        read(LAMBDA, line)
