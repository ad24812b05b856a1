"""Which files are written anew, and why: from a table's layout alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.settings.upkeep import UpkeepConfig
from iceberg_datamart.core.upkeep.layout import LaidFile, Layout
from iceberg_datamart.core.upkeep.planner import compaction, merged_manifests

KB, MB = 1024, 1024 * 1024
USUAL = UpkeepConfig()


def small(count: int, size: int = 10 * KB) -> tuple[LaidFile, ...]:
    return tuple(LaidFile(f"small-{number}", size, 100) for number in range(count))


def rewritten(layout: Layout, settings: UpkeepConfig = USUAL) -> set[str]:
    found = compaction("t", layout, settings, 7).rewrite
    return set() if found is None else set(found.data)


def test_many_small_files_are_written_together_and_few_are_left() -> None:
    assert len(rewritten(Layout(small(11)))) == 11
    assert rewritten(Layout(small(10))) == set()
    why = compaction("t", Layout(small(10)), USUAL, 7).step.why
    assert why == "10 data files and 0 delete files: 9 fewer afterwards, and min_files is 10"


def test_a_large_file_is_not_written_anew_for_a_few_small_ones() -> None:
    large = LaidFile("large", 300 * MB, 10_000_000)
    assert "large" not in rewritten(Layout((large, *small(20))))
    assert "large" in rewritten(Layout((large, *small(20, 8 * MB)))), "together they are half of it"
    full = LaidFile("full", 400 * MB, 10_000_000)
    assert "full" not in rewritten(Layout((full, *small(100, 8 * MB))))


def test_a_large_file_of_which_much_is_deleted_is_written_anew_alone() -> None:
    hidden = LaidFile("large", 500 * MB, 1000, deleted=300, delete_files=1)
    layout = Layout((hidden,), {"d": {"large"}})
    found = compaction("t", layout, USUAL, 7)
    assert found.rewrite is not None
    assert (found.rewrite.data, found.rewrite.deletes, found.rewrite.base) == ({"large"}, {"d"}, 7)
    assert found.step.why == "1 data file and 1 delete file; of 1 file 30% or more is deleted"
    assert rewritten(layout, UpkeepConfig(delete_ratio=0.31)) == set()


def test_many_delete_files_of_one_large_file_become_one() -> None:
    large = LaidFile("large", 500 * MB, 1_000_000, deleted=12, delete_files=12)
    deletes = {f"d{number}": frozenset({"large"}) for number in range(12)}
    found = compaction("t", Layout((large,), deletes), USUAL, 7).rewrite
    assert found is not None
    assert (found.data, found.deletes) == (frozenset(), frozenset(deletes))


def test_an_empty_table_and_few_manifests_are_left_alone() -> None:
    assert compaction("t", Layout(), USUAL, None).rewrite is None
    assert merged_manifests("t", Layout(manifests=9, small_manifests=9), 7).rewrite is None
    found = merged_manifests("t", Layout(manifests=12, small_manifests=10), 7)
    assert found.rewrite is not None
    assert found.step.why == "12 manifests, 10 of them small"


files = st.builds(
    LaidFile,
    path=st.uuids().map(str),
    size=st.integers(1, 600 * MB),
    rows=st.integers(0, 1000),
    deleted=st.integers(0, 1000),
    delete_files=st.integers(0, 3),
)


@given(st.lists(files, max_size=30), st.data())
def test_what_is_planned_saves_files_and_no_delete_file_goes_whose_rows_would_come_back(
    data: list[LaidFile], draw: st.DataObject
) -> None:
    paths = [file.path for file in data]
    subsets = st.frozensets(st.sampled_from(paths)) if paths else st.just(frozenset[str]())
    deletes = draw.draw(st.dictionaries(st.uuids().map(str), subsets, max_size=20))
    found = compaction("t", Layout(tuple(data), deletes), USUAL, 7)
    assert found.step.is_due == (found.rewrite is not None)
    if found.rewrite is None:
        return
    assert found.rewrite.data <= set(paths)
    assert found.rewrite.deletes <= set(deletes)
    # A delete file that names written files alone goes with them: it says nothing of any other.
    assert {
        path for path, touched in deletes.items() if touched <= found.rewrite.data
    } <= found.rewrite.deletes


@given(st.lists(st.integers(1, 8 * MB), min_size=12, max_size=12))
def test_small_files_are_always_written_together(sizes: list[int]) -> None:
    assert len(rewritten(Layout(tuple(LaidFile(str(n), size, 1) for n, size in enumerate(sizes))))) == 12
