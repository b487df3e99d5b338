"""Tables that a function returns without a name."""

from typing import Any

import numpy as np
import pytest

from agents.search.samplers.table_moves import table_knobs
from agents.search.structure.tables import with_tables
from mesh.knobs import find_knobs


@pytest.mark.parametrize(
    "returned",
    [
        "np.column_stack((np.cos(angles), np.sin(angles)))",
        "np.exp(-4.0 * angles * angles)",
        "np.asarray([((i + 0.5) * 0.2, 0.1) for i in range(6)])",
    ],
)
def test_what_a_function_returns_without_a_name_is_its_table_and_not_what_it_is_made_of(returned: str) -> None:
    source = (
        f"import numpy as np\n\n\ndef points():\n    angles = 2.0 * np.pi * np.arange(6) / 6\n    return {returned}\n"
    )
    found = with_tables(source)
    assert found is not None
    assert found.title == "return of points written out as numbers"
    assert "angles = 2.0 * np.pi" in found.source
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    exec(source, before)
    exec(found.source, after)
    np.testing.assert_allclose(after["points"](), before["points"](), atol=1e-5)
    assert len(table_knobs(find_knobs("x.py", found.source))) >= 6
    again = with_tables(found.source)
    assert again is None or "return" not in again.title


@pytest.mark.parametrize("returned", ["np.array([0.1, 0.2, 0.3, 0.4])", "angles + shift", "[0.0] * 9", "angles[0]"])
def test_a_result_that_is_literal_unknown_or_no_table_stays(returned: str) -> None:
    source = f"import numpy as np\n\n\ndef points(shift):\n    angles = np.arange(6)\n    return {returned}\n"
    assert with_tables(source) is None
