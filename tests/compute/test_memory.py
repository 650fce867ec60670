import os

import pytest

from maml.compute import memory

GIBIBYTES = 2**30


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", f"{4 * GIBIBYTES}\n", 4),
        ("memory/memory.limit_in_bytes", f"{4 * GIBIBYTES}\n", 4),
        ("memory.max", "max\n", 16),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 16),  # how cgroups 1 say "none"
        ("another", "", 16),
    ],
)
def test_a_container_has_what_it_is_given(tmp_path, monkeypatch, name, text, expected):
    pages = {"SC_PHYS_PAGES": 4 * 2**20, "SC_PAGE_SIZE": 4096}  # 16 GiB
    monkeypatch.setattr(os, "sysconf", pages.get)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert memory.machine_memory() == expected * GIBIBYTES


def test_this_machine_has_some_memory():
    assert memory.machine_memory() > GIBIBYTES / 2
