"""`mesh rent`: measured time per run x price; the Pareto set; what was never measured is never ranked."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import yaml
from msgspec.structs import replace

from mesh import events as e
from mesh.errors import BadInput
from mesh.gpu_prices import PRICE_COLUMNS, GpuPrice, read_gpu_prices
from mesh.jetstream import connect
from mesh.sql_protocol import Query
from mesh.testing import content_hash
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from mesh_cli.rental.measured import ArenaMeasured, ClassMeasured, ProviderGroup, measured_classes
from mesh_cli.rental.rent_forms import printed_form
from mesh_cli.rental.rent_options import FEWEST, Rental, chosen, rental
from mesh_cli.rental.rent_table import rent_lines, unmeasured_lines
from tests.support.arenas import write_arena
from tests.support.folding import folded
from tests.support.history import T0, finish, opened, proposal, request
from tests.test_cli import COMMANDS, Mesh, fill, mesh, options, refused, serving

__all__ = ["mesh"]

TABLE = read_gpu_prices(
    "\n".join(
        [
            ",".join(PRICE_COLUMNS),
            "H100-SXM,80,runpod,secure,1,3.99,,2026-11-09,s",
            "H100-SXM,80,verda,,1,1.99,1.00,2026-11-09,s",
            "H100-SXM,80,aws,p5.48xlarge us-east-1,8,6.88,,2026-11-09,s",
            "RTX4090,24,runpod,community,1,0.34,,2026-11-09,s",
            "L40S,48,runpod,secure,1,1.09,,2026-11-09,s",
            "T4,16,colab,free,1,0,,2026-05-05,s",
            "H100-host,,gcp,host,1,1.18,,2026-11-09,s",
            "cpu-8,,runpod,cpu5c,0,0.28,,2026-11-09,s",
        ]
    ),
    "t",
)
JOIN = """uvx --from 'mesh-swarm[worker]' mesh join "$MESH_TOKEN\""""
H100, RTX = "NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"


def group(**changed: object) -> ProviderGroup:
    plain = ProviderGroup("", False, 1, None, 10, 320.0, 3200.0, 0.0)
    return replace(plain, **changed)


def worked(
    name: str, device: str, memory_gb: float, *groups: ProviderGroup, steps: float | None = None
) -> ClassMeasured:
    return ClassMeasured(name, device, memory_gb * 1024, steps, list(groups))


def arena(*classes: ClassMeasured, gpu_memory_gb: float = 0.0) -> ArenaMeasured:
    return ArenaMeasured(300.0, 600.0, "any", gpu_memory_gb, list(classes))


def ranked(*classes: ClassMeasured, spot: bool = False, prices: list[GpuPrice] = TABLE) -> Rental:
    return rental(arena(*classes), prices, budget_usd=20.0, hours=8.0, spot=spot)


def test_an_option_costs_its_price_times_the_measured_time_of_a_run() -> None:
    found = ranked(worked("cuda-h100", H100, 79.6, group()))
    figures = {
        option.provider: (option.usd_per_hour, option.trials_per_hour, round(option.usd_per_trial, 6), option.trials)
        for option in found.options
    }
    assert figures == {
        "verda": (1.99, 11.25, 0.176889, 113),
        "runpod": (3.99, 11.25, 0.354667, 56),
        "aws": (55.04, 90.0, 0.611556, 32),
    }
    verda = found.options[0]
    assert verda.hours == pytest.approx(113 / 11.25)
    assert verda.machines == 2


def test_the_options_that_nothing_beats_in_price_and_speed_are_marked() -> None:
    fast, slow = worked("cuda-h100", H100, 79.6, group()), worked("cuda-rtx4090", RTX, 24, group(median_run_s=900.0))
    found = ranked(fast, slow)
    assert [(o.worker_class, o.provider, o.is_pareto) for o in found.options] == [
        ("cuda-rtx4090", "runpod", True),  # the cheapest trial
        ("cuda-h100", "verda", True),  # faster, and dearer
        ("cuda-h100", "runpod", False),  # as fast as verda, and dearer
        ("cuda-h100", "aws", True),  # the fastest
    ]
    for one, other in itertools.permutations(found.options, 2):
        is_beaten = other.usd_per_trial < one.usd_per_trial and other.trials_per_hour >= one.trials_per_hour
        assert not (one.is_pareto and is_beaten)


def test_a_class_with_too_few_scored_runs_and_a_gpu_without_any_are_listed_and_never_ranked() -> None:
    few = worked("cuda-rtx4090", RTX, 24, group(scored=FEWEST - 2, price_per_hour_usd=0.36))
    found = ranked(worked("cuda-h100", H100, 79.6, group()), few)
    assert {option.worker_class for option in found.options} == {"cuda-h100"}
    first, *rest = found.unmeasured
    assert (first.name, first.scored) == ("cuda-rtx4090", 3)
    assert first.about_usd == pytest.approx(2 * 320 / 3600 * 0.36)
    # the budget of 300 s and the 20 s that surround a run elsewhere; neither hosts nor machines without a GPU
    assert [(each.name, each.about_usd) for each in rest] == [
        ("T4", 0.0),
        ("L40S", pytest.approx(5 * 320 / 3600 * 1.09)),
    ]
    lines = unmeasured_lines(found.unmeasured)
    assert lines[0] == "cuda-rtx4090: only 3 scored: 2 more trials cost about $0.064"
    assert lines[2] == "L40S: unmeasured: 5 trials cost about $0.48 at runpod secure, $1.09/GPU-h"


def test_gpus_with_less_memory_than_the_arena_asks_for_are_not_listed() -> None:
    asked = arena(worked("cuda-h100", H100, 79.6, group()), gpu_memory_gb=40)
    found = rental(asked, TABLE, budget_usd=20.0, hours=8.0, spot=False)
    assert [each.name for each in found.unmeasured] == ["L40S"]


def test_an_arena_that_uses_no_gpu_lists_none() -> None:
    found = ranked(worked("cpu-x86_64", "cpu", 16, group(price_per_hour_usd=0.28, slots=8, median_run_s=2.5)))
    [option] = found.options
    assert option.trials_per_hour == 11520.0
    assert option.usd_per_trial == pytest.approx(0.28 / 11520)
    assert found.unmeasured == []


def test_a_spot_price_counts_with_what_spot_machines_of_the_class_have_lost_here() -> None:
    lossy = group(spot=True, provider="vast", price_per_hour_usd=0.9, run_s=3000.0, lost_s=750.0)
    found = ranked(worked("cuda-h100", H100, 79.6, group(), lossy), spot=True)
    assert [(o.provider, o.usd_per_hour, o.lost_share) for o in found.options] == [
        ("vast", 0.9, 0.25),
        ("verda", 1.0, 0.25),
    ]
    assert [o.effective_usd_per_hour for o in found.options] == pytest.approx([1.125, 1.25])
    assert found.options[0].usd_per_trial == pytest.approx(1.125 / 11.25)
    assert found.remarks == []


def test_a_loss_that_nobody_has_measured_is_said_to_be_unknown() -> None:
    found = ranked(worked("cuda-h100", H100, 79.6, group()), spot=True)
    [option] = found.options
    assert (option.lost_share, option.effective_usd_per_hour) == (None, 1.0)
    assert found.remarks == [
        "no spot machine of cuda-h100 has run here, so what is lost when one is taken back is not counted"
    ]
    assert " ? " in rent_lines(found.options, budget_usd=20, hours=8, width=None)[1]


def test_a_measured_class_without_any_price_is_said_and_not_ranked() -> None:
    found = ranked(worked("cpu-x86_64", "cpu", 16, group()))
    assert found.options == []
    assert found.remarks[0].startswith("cpu-x86_64 is measured, but no such price is known")


def test_own_hardware_costs_nothing_and_says_so() -> None:
    [option] = ranked(worked("cpu-x86_64", "cpu", 16, group(price_per_hour_usd=0.0))).options
    assert (option.usd_per_trial, option.trials, option.hours, option.machines) == (0.0, None, None, 1)
    assert " any " in rent_lines([option], budget_usd=20, hours=8, width=None)[1]


def test_classes_that_do_not_do_the_same_in_a_trial_are_said_to_have_two_tasks() -> None:
    fast = worked("cuda-h100", H100, 79.6, group(), steps=9000.0)
    slow = worked("cuda-rtx4090", RTX, 24, group(), steps=400.0)
    [remark] = ranked(fast, slow).remarks
    assert "(cuda-h100 9,000, cuda-rtx4090 400)" in remark
    assert "per step, cuda-h100 at verda is the cheapest" in remark  # per trial it is the other
    alike = worked("cuda-rtx4090", RTX, 24, group(), steps=8900.0)
    assert ranked(fast, alike).remarks == []


def test_an_option_is_chosen_by_class_and_provider_and_what_is_not_there_is_refused() -> None:
    options = ranked(worked("cuda-h100", H100, 79.6, group())).options
    assert [option.provider for option in chosen(options, "cuda-h100", "AWS")] == ["aws"]
    with pytest.raises(BadInput, match=r"no measured option is cuda-h200; there are cuda-h100 at aws, .* at verda"):
        chosen(options, "cuda-h200")
    assert chosen([]) == []


def test_a_printed_task_of_skypilot_names_the_machine_and_keeps_the_invitation_out() -> None:
    options = ranked(worked("cuda-h100", H100, 79.6, group(), group(spot=True, run_s=100.0)), spot=True).options
    text = printed_form("sky", options[0], "My Arena", hours=8)
    task = yaml.safe_load(text)
    assert task["name"] == "mesh-my-arena"
    assert task["resources"] == {"infra": "verda", "accelerators": {"H100-SXM": 1}, "use_spot": True}
    assert task["secrets"] == {"MESH_TOKEN": None}
    last = task["run"].splitlines()[-1]
    assert last == f"exec {JOIN} --yes --price 1 --idle-stop 10m --spot"
    assert text.startswith("# arena My Arena: cuda-h100, verda H100-SXM spot: $1/h, ")


def test_a_printed_job_of_slurm_asks_for_its_gpus_its_time_and_its_number_of_machines() -> None:
    aws = chosen(ranked(worked("cuda-h100", H100, 79.6, group())).options, "", "aws")[0]
    verda = chosen(ranked(worked("cuda-h100", H100, 79.6, group())).options, "", "verda")[0]
    lines = printed_form("slurm", aws, "a", hours=0.5).splitlines()
    assert lines[0] == "#!/bin/bash"
    assert {"#SBATCH --gres=gpu:8", "#SBATCH --time=0:30:00", "#SBATCH --signal=B:TERM@60", "#SBATCH --requeue"} <= {
        *lines
    }
    assert "#SBATCH --array=1-2" in printed_form("slurm", verda, "a", hours=8).splitlines()
    assert lines[-1] == f"exec {JOIN} --yes --price 55.04 --idle-stop 10m"


def test_what_is_printed_has_only_options_that_mesh_join_has() -> None:
    found = ranked(worked("cuda-h100", H100, 79.6, group(), group(spot=True, run_s=100.0)), spot=True).options[0]
    printed = printed_form("join", found, "a", hours=8).splitlines()[1].partition(" mesh join ")[2]
    assert {word for word in printed.split() if word.startswith("--")} <= options(COMMANDS["join",])


def test_own_hardware_has_no_task_of_skypilot_and_has_a_line_to_join() -> None:
    [option] = ranked(worked("cpu-x86_64", "cpu", 16, group(price_per_hour_usd=0.0))).options
    with pytest.raises(BadInput, match="use --print join"):
        printed_form("sky", option, "a", hours=8)
    assert printed_form("join", option, "a", hours=8).splitlines()[1] == f"{JOIN} --yes --price 0 --idle-stop 10m"


def measured_run(number: int, worker: str, worker_class: str, steps: int) -> list[tuple[str, e.AnyEvent]]:
    run = f"r{number}"
    done = replace(
        finish(run, T0, 1.0),
        worker=f"b-{worker}",
        worker_class=worker_class,
        evaluator=content_hash("ev"),
        cost=e.Cost(usd=0.1, seconds=40.0),
        curve=(e.CurvePoint(step=1, value=2.0, at_s=0.1), e.CurvePoint(step=steps, value=1.0, at_s=1.0)),
    )
    started = e.RunStarted(run=run, attempt=1, worker=f"b-{worker}")
    return [("cur", request(run, T0, number)), (worker, started), (worker, done)]


async def test_what_is_measured_is_read_from_a_log(tmp_path: Path) -> None:
    joined = e.WorkerJoined(
        boot="b-gpu", worker_class="cuda-h100", device=H100, slots=1, memory_mb=81559, price_per_hour_usd=9.0
    )
    history: list[tuple[str, e.AnyEvent]] = [
        ("op", opened()),
        ("gpu", joined),
        ("cpu", e.WorkerJoined(boot="b-cpu", worker_class="cpu-x86_64", device="cpu", slots=2)),
        ("ann", proposal(T0, how="baseline")),
        *(fact for number in range(1, 7) for fact in measured_run(number, "gpu", "cuda-h100", 900 + number)),
        *measured_run(7, "cpu", "cpu-x86_64", 5),
    ]
    async with folded(tmp_path / "a.duckdb", history) as queries:

        async def ask(sql: str) -> list[list[object]]:
            return (await queries.answer(Query(sql))).rows

        found = await measured_classes(ask, "a")
        with pytest.raises(BadInput, match="was never opened"):
            await measured_classes(ask, "nothing")
    assert (found.budget_s, found.deadline_s, found.worker_class, found.gpu_memory_gb) == (1.0, 2.0, "any", 0.0)
    cpu, gpu = found.classes
    assert (cpu.worker_class, cpu.device, cpu.scored, cpu.steps) == ("cpu-x86_64", "cpu", 1, 5.0)
    assert (gpu.worker_class, gpu.device, gpu.memory_mb, gpu.scored, gpu.steps) == ("cuda-h100", H100, 81559, 6, 903.5)
    assert (gpu.groups[0].price_per_hour_usd, gpu.groups[0].slots, cpu.groups[0].price_per_hour_usd) == (9.0, 1, None)
    assert gpu.run_s is not None
    assert gpu.run_s > 0
    options = rental(found, TABLE, budget_usd=20.0, hours=8.0, spot=False).options
    assert {(option.worker_class, option.provider) for option in options} == {
        ("cuda-h100", ""),
        *(("cuda-h100", provider) for provider in ("aws", "runpod", "verda")),
    }
    assert json.loads(json.dumps([option.usd_per_trial for option in options])) == sorted(
        o.usd_per_trial for o in options
    )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """A home whose log has a worker at half a dollar per hour, and six scored runs of ten seconds."""
    with serving(tmp_path / "home") as url:
        tree, _ = anyio.run(fill, tmp_path / "home", url, write_arena(tmp_path / "arena"))
        joined = e.WorkerJoined(boot="b-gpu", worker_class="cpu", device="cpu", slots=2, price_per_hour_usd=0.5)
        runs = [f"m{number}" for number in range(6)]

        async def work() -> None:
            async with connect(url) as hub:
                bus = await hub.arena("tiny")
                await bus.post(Post.new("gpu", joined))
                for run in runs:
                    await bus.post(Post.new("cur", request(run, tree)))
                    await bus.post(Post.new("gpu", e.RunStarted(run=run, attempt=1, worker="b-gpu")))
                    ended = replace(finish(run, tree, 0.5), worker="b-gpu", cost=e.Cost(usd=0.1, seconds=10.0))
                    await bus.post(Post.new("gpu", ended))

        anyio.run(work)
        yield url


def grant(url: str, usd: float) -> None:
    async def post() -> None:
        async with connect(url) as hub:
            await (await hub.arena("tiny")).post(Post.new("op", e.BudgetGranted(n=9, usd=usd)))

    anyio.run(post)


def test_the_command_ranks_what_was_measured_and_says_what_is_spent(lab: str, mesh: Mesh) -> None:
    done = mesh("rent")
    assert done.code == 0, done.err
    header, row = [line.split() for line in done.out.splitlines()]
    assert header[header.index("$20") - 2 : header.index("$20") + 1] == ["trials", "for", "$20"]
    assert row[:5] == ["*", "cpu", "own", "price", "0.50"]
    assert row[5:8] == ["720", "0.000694", "28,800"]  # two slots, ten seconds each
    assert re.search(r"^mesh: about \$0\.50/h; .*spent \$[0-9.]+$", done.err, re.MULTILINE), done.err
    assert mesh("rent", "--print", "join").out.splitlines()[1] == f"{JOIN} --yes --price 0.5 --idle-stop 10m"
    refused(mesh("rent", "--print", "sky"), ExitCode.BAD_INPUT, "use --print join")
    refused(mesh("rent", "--class", "cuda-h100"), ExitCode.BAD_INPUT, "no measured option is cuda-h100; there is cpu")
    refused(mesh("rent", "--print", "join", "--json"), ExitCode.BAD_INPUT, "exclude each other")
    spot = mesh("rent", "--spot")
    assert (spot.code, spot.out) == (0, "")
    assert "no class has 5 scored runs in arena tiny and a spot price: nothing is ranked" in spot.err


def test_what_is_left_of_the_arenas_budget_is_what_can_be_spent(lab: str, mesh: Mesh) -> None:
    grant(lab, 3.0)
    [option] = json.loads(mesh("rent", "--json").out)["options"]
    spent_within_ten_minutes = 0.5 / 6
    assert (3.0 - spent_within_ten_minutes) * 1440 <= option["trials"] + 1 <= 3.0 * 1440 + 1
    assert json.loads(mesh("rent", "--budget", "1", "--json").out)["options"][0]["trials"] == 1440
