"""The memory check before a training: the memory it needs, the memory available, and its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.training.memory import Size, TooLargeError, available_bytes, require_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGE = Size(interactions=10_000_000, users=100_000, items=20_000, factors=100, top_k=10)
GIGABYTE = 10**9


def machine(root: Path, free: int, groups: str = "", files: Mapping[str, str] | None = None) -> Path:
    """Write a ``/proc`` and a ``/sys`` with these files of control groups."""
    written = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {free // 1024} kB\n", "proc/self/cgroup": groups}
    written |= {f"sys/fs/cgroup/{name}": text for name, text in (files or {}).items()}
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, 8 * GIGABYTE)
    (root / "proc/self/cgroup").unlink()
    free, by = available_bytes(root)
    assert free == pytest.approx(8 * GIGABYTE, abs=1024)
    assert by == "what the machine has free"


@pytest.mark.parametrize("limited", ["", "job/", "job/inner/"])
def test_each_group_above_the_process_limits_it(limited: str, tmp_path: Path) -> None:
    files = {f"{group}memory.max": "max\n" for group in ("", "job/", "job/inner/")}
    files |= {f"{group}memory.current": f"{2 * GIGABYTE}\n" for group in ("", "job/", "job/inner/")}
    files[f"{limited}memory.max"] = f"{3 * GIGABYTE}\n"
    root = machine(tmp_path, 8 * GIGABYTE, "0::/job/inner\n", files)
    assert available_bytes(root) == (GIGABYTE, "the limit of the control group")


def test_memory_that_the_kernel_can_reclaim_is_available(tmp_path: Path) -> None:
    files = {
        "memory.max": str(3 * GIGABYTE),
        "memory.current": str(2 * GIGABYTE),
        "memory.stat": f"anon 1\ninactive_file {GIGABYTE}\nactive_file 7\n",
    }
    assert available_bytes(machine(tmp_path, 8 * GIGABYTE, "0::/\n", files))[0] == 2 * GIGABYTE


def test_groups_of_the_first_version_are_respected(tmp_path: Path) -> None:
    files = {
        "memory/docker/1f/memory.limit_in_bytes": str(4 * GIGABYTE),
        "memory/docker/1f/memory.usage_in_bytes": str(3 * GIGABYTE),
        "memory/docker/1f/memory.stat": "total_inactive_file 5\n",
    }
    root = machine(tmp_path, 8 * GIGABYTE, "5:cpu:/x\n4:memory:/docker/1f\n0::/\n", files)
    assert available_bytes(root)[0] == GIGABYTE + 5


def test_a_training_that_is_too_large_is_rejected_with_numbers_and_a_remedy(tmp_path: Path) -> None:
    root = machine(tmp_path, GIGABYTE)
    with pytest.raises(TooLargeError) as caught:
        require_memory(LARGE, "stock", root)
    message = str(caught.value)
    assert message.startswith(
        "Training would not fit: 10,000,000 interactions of 100,000 users with 20,000 items need about "
    )
    assert " GB of memory; 1.0 GB are available (what the machine has free). " in message
    assert "lower training.factors, or set training.engine to exact." in message
    with pytest.raises(TooLargeError, match=r"lower training\.factors\.$"):
        require_memory(LARGE, "exact", root)


def test_a_training_that_fits_reports_the_memory_it_needs(tmp_path: Path) -> None:
    line = require_memory(LARGE, "exact", machine(tmp_path, 24 * GIGABYTE))
    assert "need about" in line
    assert "24.0 GB are available" in line


def test_the_exact_engine_needs_less_than_half_of_the_stock_engines_memory() -> None:
    assert LARGE.needed_bytes("exact") < LARGE.needed_bytes("stock") / 2


def test_a_million_users_fit_into_24_gigabytes() -> None:
    huge = Size(interactions=50_000_000, users=1_000_000, items=100_000, factors=100, top_k=10)
    assert huge.needed_bytes("exact") < 24 * GIGABYTE
    assert huge.needed_bytes("stock") > 24 * GIGABYTE
