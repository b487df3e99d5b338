"""`docs/economics.md`: every figure of the worked example follows from its inputs, and its prices are in the table."""

import ast
import operator
import re
from pathlib import Path

import pytest

from mesh.gpu_prices import SHIPPED, read_gpu_prices

PAGE = Path(__file__).parents[1] / "docs" / "economics.md"
KINDS = ("short CPU trials", "GPU trials of five minutes", "model-heavy search")
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def rows_of(first: str) -> list[list[str]]:
    """The cells of the table whose header begins so."""
    [table] = re.findall(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def inputs(kind: int) -> dict[str, float]:
    return {name.strip("`"): number(values[kind]) for name, _, *values in rows_of("input")}


def computed(formula: str, known: dict[str, float]) -> float:
    """The value of a formula of four operations over known names."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as constant):
                return float(constant)
            case ast.Name(id=name):
                return known[name]
            case ast.BinOp(left=left, op=op, right=right):
                return float(_OPERATORS[type(op)](value(left), value(right)))
        raise AssertionError(f"{formula}: {ast.dump(node)}")

    return value(ast.parse(formula.strip("`"), mode="eval").body)


def results(kind: int) -> dict[str, float]:
    """All values of one kind of work, from its inputs alone."""
    known = inputs(kind)
    for name, formula, *_ in rows_of("result"):
        known[name.strip("`")] = computed(formula, known)
    return known


@pytest.mark.parametrize("kind", range(3), ids=KINDS)
def test_every_figure_is_what_its_formula_says_to_the_last_digit_shown(kind: int) -> None:
    known = results(kind)
    for name, _, *shown in rows_of("result"):
        text = shown[kind].replace(",", "")
        places = len(text.partition(".")[2])
        assert text == f"{known[name.strip('`')]:.{places}f}", name


@pytest.mark.parametrize("kind", range(3), ids=KINDS)
def test_the_parts_of_a_run_add_up_to_what_the_machines_the_hub_and_the_models_cost_in_a_night(kind: int) -> None:
    known = results(kind)
    machines = known["machines"] * known["machine_usd_h"] * known["hours"]
    rest = known["hub_usd_h"] * known["hours"] + known["model_usd"] * known["night_runs"]
    assert known["night_usd"] == pytest.approx(machines + rest)


def test_the_prices_of_machines_are_rows_of_the_table_that_comes_with_the_mesh() -> None:
    table = {(p.gpu, p.tier.partition(" ")[0]): p.on_demand_usd for p in read_gpu_prices(SHIPPED.read_text(), "table")}
    wanted = [table["cpu-8", "cpu5c"], table["H100-SXM", "community"], table["RTX4090", "community"]]
    assert [inputs(kind)["machine_usd_h"] for kind in range(3)] == wanted


def test_the_shares_that_the_text_names_are_those_of_the_example() -> None:
    cpu, gpu, model = (results(kind) for kind in range(3))
    text = re.sub(r"\s+", " ", PAGE.read_text())
    assert f"the GPU is {gpu['run_usd'] / gpu['usd_per_run']:.0%}".replace("%", " %") in text
    assert f"the model is {model['model_usd'] / model['usd_per_run']:.0%}".replace("%", " %") in text
    assert cpu["hub_usd"] / cpu["usd_per_run"] == pytest.approx(0.5)
    assert "half of it is the hub" in text
    assert cpu["around_s"] / cpu["run_s"] == pytest.approx(0.2)
    assert "is a fifth of it here" in text
    spot_price = 0.6  # 60 % of the price: worth while up to a lost share of 2/3
    assert spot_price * (1 + 2 / 3) == pytest.approx(1)
