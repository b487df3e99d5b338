"""Which of several numbers `mesh init` takes for the score."""

from pathlib import Path

import pytest

from mesh_cli.setup.first_look.folder_view import view_folder
from mesh_cli.setup.first_look.guesses import guess
from tests.test_init import folder_of


@pytest.mark.parametrize(
    ("readme", "metric"),
    [("We want a low RMSE on the test set.", "rmse"), ("Lower mae is better.", "mae"), ("A model of houses.", "mae")],
)
def test_of_numbers_of_a_kind_the_one_that_the_readme_names_is_the_score(
    readme: str, metric: str, tmp_path: Path
) -> None:
    script = "fit()\nprint(f'MAE:  {mae:.3f}')\nprint(f'R2:   {r2:.4f}')\nprint(f'RMSE: {rmse:.3f}')\n"
    files = {"train.py": script, "README.md": f"`python train.py`\n\n{readme}\n"}
    found = guess(view_folder(folder_of(tmp_path, files)))
    assert found.metric is not None
    assert (found.metric.name, found.direction) == (metric, "minimize")
