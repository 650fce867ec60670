"""What the tests of the tables share."""

from collections.abc import Callable

import pytest
import table_runs

from maml.configuration.config import Config
from maml.results.tables import write_tables


@pytest.fixture
def tables(tmp_path) -> Callable[..., Callable[[str], str]]:
    """Write a made-up run and its tables: (config, …) → name of a file → its text.

    ``changed`` are trainings that go otherwise: (experiment, method, seed) → what
    ``table_runs.write_one`` takes.
    """

    def make(config: Config, changed: dict | None = None) -> Callable[[str], str]:
        table_runs.write(config, tmp_path / "runs")
        for key, changes in (changed or {}).items():
            table_runs.write_one(config.job(*key), tmp_path / "runs", **changes)
        write_tables(config, tmp_path / "runs", tmp_path / "tables")
        return lambda name: (tmp_path / "tables" / name).read_text(encoding="utf-8")

    return make
