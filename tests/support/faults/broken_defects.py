"""What is broken for each defect of the old script."""

from __future__ import annotations

from support.faults.broken import Broken

DEFECTS = (
    Broken(
        "D1",
        "a mart follows its root table alone",
        "run/mart.py",
        "changed = [mirror.table for mirror in consumed if mirror.run_ids]",
        "changed = [mirror.table for mirror in consumed[:1] if mirror.run_ids]",
        "tests/e2e/test_defects.py::test_d1_a_change_on_one_side_alone_reaches_the_mart",
    ),
    Broken(
        "D2",
        "every window starts where the fastest table is",
        "core/plan/windows.py",
        'return state.watermark, "the mirror\'s watermark"\n\n\ndef _integer_start',
        'return file or state.watermark, "the file"\n\n\ndef _integer_start',
        "tests/e2e/test_defects.py::test_d2_a_slower_table_loses_no_rows",
    ),
    Broken(
        "D3",
        "the file moves although a table failed",
        "run/runner.py",
        "if any(name not in tables or tables[name].outcome == FAILED for name in step.tables):",
        "done = tuple(name for name in tables if tables[name].outcome != FAILED)\n"
        "        step = replace(step, tables=done)\n        if not done:",
        "tests/e2e/test_defects.py::test_d3_a_table_that_failed_once_loses_no_rows",
    ),
    Broken(
        "D4",
        "changes are appended",
        "lake/changeset.py",
        "if set(self.counts) == {INSERT} else",
        "if True else",
        "tests/e2e/test_defects.py::test_d4_updates_reruns_and_full_loads_double_no_row",
    ),
    Broken(
        "D5",
        "the lower bound is open",
        "sources/postgres/table_sql.py",
        "return sql.SQL(\"({} >= {} or {} is null or {} = '-infinity')\")",
        "return sql.SQL(\"({} > {} or {} is null or {} = '-infinity')\")",
        "tests/e2e/test_defects.py::test_d5_a_row_tied_with_the_watermark_is_read",
    ),
    Broken(
        "D6",
        "digests of equal count are equal",
        "core/source/slices.py",
        "if source.get(n) != mirror.get(n))",
        "if source.get(n) is None or mirror.get(n) is None or source[n].rows != mirror[n].rows)",
        "tests/e2e/test_defects.py::test_d6_what_the_cursor_does_not_see_is_found[reconcile]",
    ),
    Broken(
        "D7",
        "the window is left out of the query",
        "sources/postgres/table_sql.py",
        "if window.lower is None or self.cursor is None:",
        "if True:",
        "tests/e2e/test_defects.py::test_d7_window_and_columns_are_the_servers_work",
    ),
    Broken(
        "D8",
        "colliding columns keep their names",
        "core/mart/shape.py",
        "if counts[o.name.lower()] > 1 else o for o in shown]",
        "if counts[o.name.lower()] > 9 else o for o in shown]",
        "tests/e2e/test_defects.py::test_d8_columns_of_the_same_name_have_fixed_names_in_the_mart",
    ),
    Broken(
        "D9",
        "the exit code is always 0",
        "core/report/run.py",
        "return codes.pop() if len(codes) == 1 else 1",
        "return 0",
        "tests/e2e/test_defects.py::test_d9_a_failure_is_told_and_the_next_run_resumes",
    ),
    Broken(
        "D10",
        "a new column does not reach the mirror",
        "lake/iceberg.py",
        "self._catalog.evolve(table, change, schema_id)",
        "self._catalog.evolve(table, replace(change, added=()), schema_id)",
        "tests/e2e/test_defects.py::test_d10_columns_that_change_reach_mirror_and_mart_or_stop_one_table_alone",
    ),
    Broken(
        "D11",
        "a missing table ends the run",
        "sources/postgres/locks.py",
        "except DatamartError as error:\n            self._failed[name] = error",
        "except DatamartError:\n            raise",
        "tests/e2e/test_defects.py::test_d11_a_missing_table_ends_nothing_and_its_return_resumes",
    ),
)
