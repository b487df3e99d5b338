"""`mesh prices`: what it shows, and how another list gets into the table of a home."""

import datetime as dt
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.gpu_prices import OLD_DAYS, PRICE_COLUMNS, known_prices, prices_file
from mesh_cli.exit import ExitCode
from tests.test_cli import Mesh, mesh, refused

__all__ = ["mesh"]

HEADER = ",".join(PRICE_COLUMNS)
SKY = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP; yield the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines, ""]))
    return path


def test_prices_are_shown_with_their_age_and_old_ones_are_marked(mesh: Mesh, tmp_path: Path) -> None:
    new, old = today() - dt.timedelta(days=3), today() - dt.timedelta(days=OLD_DAYS + 1)
    lines = f"H100,80,acme,old,1,2.5,,{old},s", f"H100,80,acme,new,1,2.0,1.25,{new},s"
    mesh("prices", "--update", write(tmp_path / "own.csv", *lines))
    done = mesh("prices", "H100", "--provider", "acme")
    assert done.code == 0
    header, first, second = [line.split() for line in done.out.splitlines()]
    assert header == ["gpu", "GB", "provider", "offer", "gpus", "$/GPU-h", "spot", "seen", "age", "source"]
    assert first == ["H100", "80", "acme", "new", "1", "2.00", "1.25", str(new), "3", "d", "s"]
    assert second == ["H100", "80", "acme", "old", "1", "2.50", "-", str(old), str(OLD_DAYS + 1), "d", "!", "s"]
    assert done.err.startswith(f"mesh: 1 price is older than {OLD_DAYS} days (!)")


def test_a_name_without_a_form_means_all_forms_and_one_with_a_form_means_that(mesh: Mesh) -> None:
    all_forms = {row["gpu"] for row in json.loads(mesh("prices", "h100", "--json").out)}
    assert all_forms == {"H100", "H100-NVL", "H100-PCIe", "H100-SXM"}
    assert {row["gpu"] for row in json.loads(mesh("prices", "H100-SXM", "--json").out)} == {"H100", "H100-SXM"}


def test_only_spot_prices_are_shown_where_these_are_wanted_the_cheapest_first(mesh: Mesh) -> None:
    rows = json.loads(mesh("prices", "A100", "--spot", "--json").out)
    assert rows
    assert all(row["spot_usd_per_gpu_h"] > 0 for row in rows)
    for gpu in {row["gpu"] for row in rows}:
        prices = [row["spot_usd_per_gpu_h"] for row in rows if row["gpu"] == gpu]
        assert prices == sorted(prices)


def test_what_an_offer_cost_before_is_shown_only_where_it_is_wanted(mesh: Mesh) -> None:
    ask = ("prices", "H100-SXM", "--provider", "runpod", "--json")
    now, ever = (json.loads(mesh(*ask, *more).out) for more in ((), ("--all",)))
    assert [row["on_demand_usd_per_gpu_h"] for row in now if row["tier"] == "secure"] == [3.99]
    assert [row["on_demand_usd_per_gpu_h"] for row in ever if row["tier"] == "secure"] == [3.49, 3.99]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("H900",), "no price of 'H900' is known; there are A10, "),
        (("H100", "--provider", "nobody"), "no such price of 'nobody' is known; there are aws, "),
        (("T4", "--spot"), "no spot price is known"),
        (("H100", "--update", "x.csv"), "leave out the GPU"),
        (("--update", "/nowhere/x.csv"), "/nowhere/x.csv cannot be read: No such file"),
        (("--update", "/"), "/ cannot be read: Is a directory"),
    ],
)
def test_what_is_not_known_is_refused_in_a_sentence(words: tuple[str, ...], sentence: str, mesh: Mesh) -> None:
    refused(mesh("prices", *words), ExitCode.BAD_INPUT, sentence)


def test_a_list_replaces_the_prices_of_its_providers_and_leaves_the_others(
    mesh: Mesh, home: Path, tmp_path: Path
) -> None:
    before = known_prices(home)
    done = mesh("prices", "--update", write(tmp_path / "own.csv", f"H100,80,Lambda,new,1,2.5,,{today()},me"))
    assert (done.code, done.out) == (0, f"1 prices of lambda are in {prices_file(home)}\n")
    after = known_prices(home)
    assert [p.tier for p in after if p.provider == "lambda"] == ["new"]
    rest = [p for p in before if p.provider != "lambda"]
    assert sorted(map(repr, rest)) == sorted(repr(p) for p in after if p.provider != "lambda")


def test_a_list_of_skypilot_is_of_the_provider_that_its_folder_or_the_option_names(
    mesh: Mesh, home: Path, tmp_path: Path
) -> None:
    row = "gpu_8x_h100_sxm5,H100,8,208,1800,31.92,us-west-3,,"
    path = write(tmp_path / "lambda" / "vms.csv", row, header=SKY)
    assert mesh("prices", "--update", path).code == 0
    [price] = [p for p in known_prices(home) if p.provider == "lambda"]
    assert (price.on_demand_usd, price.gpus, price.seen) == (3.99, 8, str(today()))
    other = path.rename(tmp_path / "saved.csv")
    refused(mesh("prices", "--update", other), ExitCode.BAD_INPUT, "name --provider")
    assert json.loads(mesh("prices", "--update", other, "--provider", "Acme", "--json").out) == {
        "providers": ["acme"],
        "prices": 1,
        "left_out": 0,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{HEADER}\nH100,80,acme,,1,2.5,,2026-11-09,me\nH100,80,acme,,1,much,,2026-11-09,me\n", "line 3: on_demand"),
        ("\x89PNG\r\n", "line 1: there is no column gpu"),
        ("", "line 1: there is no column gpu"),
        (f"{SKY}\ng,H100,1,1,1,2.00,r,,\ng,H100,x,1,1,2.00,r,,\n", "line 3: AcceleratorCount is 'x'"),
    ],
)
def test_a_list_with_one_bad_line_changes_nothing(
    text: str, sentence: str, mesh: Mesh, home: Path, tmp_path: Path
) -> None:
    mesh("prices", "--update", write(tmp_path / "good.csv", f"H100,80,acme,,1,2.5,,{today()},me"))
    before = prices_file(home).read_bytes()
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    refused(mesh("prices", "--update", bad, "--provider", "acme"), ExitCode.BAD_INPUT, sentence)
    assert prices_file(home).read_bytes() == before
    assert [path.name for path in home.iterdir() if "prices" in path.name] == [prices_file(home).name]


def test_a_list_that_is_not_text_is_refused_with_its_line(mesh: Mesh, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_bytes(f"{HEADER}\n".encode() + b"H100,\xff\n")
    refused(mesh("prices", "--update", bad), ExitCode.BAD_INPUT, "line 2: not UTF-8")


def test_a_list_is_read_from_an_address_and_a_failure_there_is_a_sentence(
    mesh: Mesh, home: Path, tmp_path: Path
) -> None:
    write(tmp_path / "site" / "runpod" / "vms.csv", "1x_L4_SECURE,L4,1.0,8,32,0.43,IN,,0.43", header=SKY)
    with served(tmp_path / "site") as address:
        assert mesh("prices", "--update", f"{address}/runpod/vms.csv").code == 0
        refused(mesh("prices", "--update", f"{address}/none.csv"), ExitCode.BAD_INPUT, "cannot be read: .*404")
    refused(mesh("prices", "--update", f"{address}/runpod/vms.csv"), ExitCode.BAD_INPUT, "cannot be read: .*refused")
    [price] = [p for p in known_prices(home) if p.provider == "runpod"]
    assert (price.gpu, price.on_demand_usd, price.spot_usd, price.seen) == ("L4", 0.43, None, str(today()))
    assert price.source == f"SkyPilot catalog {address}/runpod/vms.csv"


def test_text_of_a_list_cannot_take_over_the_terminal(mesh: Mesh, tmp_path: Path) -> None:
    for field in ("g\x1b[2J", "g\u202e"):
        path = write(tmp_path / "x" / "vms.csv", f"{field},H100,1,1,1,2.00,r,,", header=SKY)
        refused(mesh("prices", "--update", path), ExitCode.BAD_INPUT, "line 2: InstanceType has .* cannot be printed")
