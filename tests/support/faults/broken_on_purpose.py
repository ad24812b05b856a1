"""Breaks each rule and defect on purpose, in a copy of the package, and sees its test fail.

`make broken` runs all of them, one after the other; with rules as arguments, such as `R7 D5`, some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src"
PACKAGE = Path("iceberg_datamart")


@dataclass(frozen=True)
class Broken:
    """One rule: the text in one file that keeps it, what stands there instead, the test that must fail.

    `also` is another text of that file, and what stands there instead, where a rule is kept twice.
    """

    rule: str
    how: str
    file: str
    kept: str
    broken: str
    test: str
    also: tuple[str, str] = ("", "")


BROKEN = (
    Broken(
        "R1",
        "the state is left out of the commit's summary",
        "lake/changes.py",
        "said = {**summary, **self.summary()}",
        "said = self.summary()",
        "tests/e2e/test_rules_state.py::test_r1_rows_and_watermark_are_in_one_snapshot",
    ),
    Broken(
        "R1",
        "what fails its audits is published all the same",
        "lake/staging.py",
        "            self._audit.judge(int(staged.snapshotId()))",
        "            pass",
        "tests/e2e/test_audits.py::test_r1_the_watermark_of_refused_rows_is_in_their_own_snapshot_alone",
    ),
    Broken(
        "R2",
        "a mart looks at the commits of its own run alone",
        "mart_runner.py",
        "runs = tuple(dict.fromkeys(s.run_id for s in since if s.run_id is not None and s.changes_rows))",
        "runs = tuple(s.run_id for s in since[:0] if s.run_id is not None)",
        "tests/faults/test_crash_points.py::test_r2_a_run_that_crashes_is_made_good_by_the_next[mirrors-merged#1-True]",
    ),
    Broken(
        "R3",
        "rows equal to the mirror's are merged again",
        "sql.py",
        "OR ({OLD}.{_HERE} AND ({gone} OR NOT ({same})))",
        "OR ({OLD}.{_HERE} AND ({gone} OR NOT ({same}) OR true))",
        "tests/e2e/test_rules_state.py::test_r3_a_rerun_commits_nothing_and_writes_no_file",
    ),
    Broken(
        "R4",
        "the timestamp file is not asked where the mirror has a watermark",
        "windows.py",
        "if file is not None and file.value < state.watermark.value:",
        "if False:",
        "tests/e2e/test_rules_state.py::test_r4_a_rewound_file_finds_changes_that_no_cursor_told_of",
    ),
    Broken(
        "R5",
        "a malformed file counts as a missing one",
        "timestamp_file.py",
        "        return parse_timestamp(content, str(self._path))",
        "        try:\n            return parse_timestamp(content, str(self._path))\n"
        "        except TimestampFileError:\n            return None",
        "tests/e2e/test_rules_state.py::test_r5_a_malformed_file_is_an_error_that_shows_it",
    ),
    Broken(
        "R6",
        "the file moves although a table failed",
        "runner.py",
        "if any(name not in tables or tables[name].outcome == FAILED for name in enabled):",
        "if any(name not in tables for name in enabled):",
        "tests/unit/test_runner.py::test_r6_a_failed_table_holds_the_timestamp_file",
    ),
    Broken(
        "R7",
        "the watermark is the greatest value read",
        "watermark.py",
        "return Watermark(limit.kind, min(max(seen), limit.value)) if seen else None",
        "return Watermark(limit.kind, max(seen)) if seen else None",
        "tests/e2e/test_rules_exactness.py::test_r7_the_watermark_stays_below_an_open_transaction",
    ),
    Broken(
        "R8",
        "a mart does not hear of its mirrors' deletes",
        "mart_runner.py",
        'any(s.changed("deleted") for s in since)',
        "False",
        "tests/e2e/test_random_stream.py::test_r8_mirrors_and_mart_are_exact_after_every_run",
    ),
    Broken(
        "R8",
        "a row with NULL in its key is not found by the MERGE that deletes it",
        "sql.py",
        'f"ON {bounds} AND {matching(key, OLD, NEW, null_safe=True)} "',
        'f"ON {bounds} AND {matching(key, OLD, NEW)} "',
        "tests/e2e/test_rules_marts.py::test_r8_a_left_join_made_inner_loses_its_rows_without_a_match",
    ),
    Broken(
        "R8",
        "what a MERGE did is not compared with what was counted",
        "lake/staging.py",
        "if touched.accounts_for(dict(staged.summary())):",
        "if True:",
        "tests/e2e/test_rules_marts.py::test_r8_a_merge_that_touches_fewer_rows_than_were_counted_is_not_published",
    ),
    Broken(
        "R9",
        "an error ends the run",
        "runner.py",
        "outcome = Outcome(FAILED, error=deliberate(name, error))",
        "raise error",
        "tests/e2e/test_rules_exactness.py::test_r9_a_failing_table_changes_no_state_but_the_others",
    ),
    Broken(
        "R10",
        "of rows with the same key the oldest stays",
        "sources/postgres_keys.py",
        "order by {cursor} desc nulls last",
        "order by {cursor} asc nulls last",
        "tests/e2e/test_rules_values.py::test_r10_of_rows_with_the_same_key_the_newest_stays",
    ),
    Broken(
        "R11",
        "only the current snapshot is asked for the state",
        "receipt.py",
        "found = (mirror_state(snapshot.summary) for snapshot in self.snapshots)",
        "found = (mirror_state(snapshot.summary) for snapshot in self.snapshots[:1])",
        "tests/e2e/test_rules_writers.py::test_r11_foreign_compaction_loses_no_state",
    ),
    Broken(
        "R12",
        "what is staged is published whatever happened since",
        "lake/staging.py",
        "if (None if parent is None else int(parent)) != base or main != base:",
        "if False:",
        "tests/e2e/test_rules_writers.py::test_r12_a_commit_between_staging_and_publishing_is_noticed",
        (
            "createTag(tag, snapshot_id).fastForwardBranch(_MAIN, tag)",
            "createTag(tag, snapshot_id).replaceBranch(_MAIN, tag)",
        ),
    ),
    Broken(
        "R13",
        "the source's identity is not compared",
        "planner.py",
        "if states[0].source != source.identity and not wishes.accept_new_source:",
        "if False:",
        "tests/e2e/test_rules_writers.py::test_r13_another_database_is_refused_unless_accepted",
    ),
    Broken(
        "R14",
        "a mirror of fewer rows is equal where none differs",
        "verification.py",
        "return EQUAL if self.expected == self.held else DIFFERENT",
        "return EQUAL",
        "tests/unit/test_verification.py::test_r14_equal_is_said_of_as_many_rows_alone_that_are_all_equal",
    ),
    Broken(
        "R14",
        "rows that the last run has read are pending, too",
        "verifier.py",
        "if session.fingerprint(step.table, ReadWindow(Watermark.parse(kind, lower))) == digest:",
        "if False:",
        "tests/unit/test_verifier.py::test_r14_nothing_is_pending_where_the_source_is_as_it_was_read",
    ),
    Broken(
        "R18",
        "a key that is held twice is left so where its rows are right",
        "sql.py",
        'differs = f"{doubled} OR {_differs(columns, gone)}"',
        "differs = _differs(columns, gone)",
        "tests/unit/test_sql.py::test_r18_a_key_that_the_mirror_holds_more_than_once_is_replaced",
    ),
    Broken(
        "R15",
        "a right that the role does not inherit counts as had",
        "sources/postgres_horizon.py",
        "pg_has_role(current_user, 'pg_read_all_stats', 'usage')",
        "pg_has_role(current_user, 'pg_read_all_stats', 'member')",
        "tests/sources/test_postgres_horizon.py::test_r15_a_right_that_is_not_inherited_is_no_right",
    ),
    Broken(
        "R15",
        "a session without track_activities counts as idle",
        "sources/postgres_horizon.py",
        'if self.state == "disabled":',
        "if False:",
        "tests/sources/test_postgres_horizon.py::test_r15_a_session_that_hides_its_transaction_is_named",
    ),
    Broken(
        "R15",
        "a materialized view counts as written here",
        "sources/postgres_relations.py",
        "where c.relkind in ('f', 'm')",
        "where c.relkind in ('f')",
        "tests/sources/test_postgres_horizon.py::test_r15_a_table_written_elsewhere_is_warned_of_by_name",
    ),
    Broken(
        "R15",
        "the watermark of a table written elsewhere is the greatest value read",
        "mirror_runner.py",
        "greatest = greatest.lowered_by(LOOKBACK)",
        "pass",
        "tests/unit/test_runner.py::test_r15_of_a_table_written_elsewhere_rows_that_arrive_late_are_read",
    ),
    Broken(
        "R16",
        "the snapshot's session does not take the locks over",
        "sources/postgres.py",
        "                self._locks.hand_over(self._connection)\n",
        "",
        "tests/sources/test_postgres_locks.py::"
        "test_r16_no_ddl_gets_at_what_is_read_until_the_point_is_given_up",
    ),
    Broken(
        "R16",
        "nothing is locked before the snapshot",
        "sources/postgres_locks.py",
        "        self.guard.execute(statement)\n",
        "",
        "tests/sources/test_postgres_locks.py::"
        "test_r16_a_table_rewritten_while_its_lock_is_waited_for_is_read_whole",
    ),
    Broken(
        "R16",
        "a child that came after the locks is read",
        "sources/postgres_locks.py",
        "if missing is not None:",
        "if False:",
        "tests/sources/test_postgres_locks.py::test_r16_a_child_added_after_the_locks_means_a_fresh_point",
    ),
    Broken(
        "R18",
        "a parent's index is believed for its children's rows",
        "sources/postgres_catalog.py",
        'if relation.kind == "r" and _fetched(connection, _HAS_CHILDREN, relation)[0][0]:',
        "if False:",
        "tests/sources/test_postgres_keys.py::test_r18_a_key_is_proven_by_what_covers_every_row_that_is_read",
    ),
    Broken(
        "R18",
        "rows that share a key are merged all the same",
        "keys.py",
        "if shared.undecided and duplicates != NEWEST:",
        "if False:",
        "tests/unit/test_keys.py::test_r18_a_shared_key_is_refused_with_its_number_an_example_and_the_fix",
    ),
    Broken(
        "R18",
        "a row without cursor value beats every other of its key",
        "sources/postgres_keys.py",
        "order by {cursor} desc nulls last",
        "order by {cursor} desc nulls first",
        "tests/sources/test_postgres_keys.py::test_r18_the_same_row_of_a_key_stays_in_every_window",
    ),
    Broken(
        "R19",
        "the recipe is not compared",
        "windows.py",
        "if not source.recipe or state.recipe == recipe_digest(source.recipe):",
        "if True:",
        "tests/unit/test_sources_that_change.py::test_r19_rows_that_are_read_otherwise_are_compared_whole",
    ),
    Broken(
        "R20",
        "the source's clock is not compared with the recorded one",
        "setbacks.py",
        "        or _clock(state, source, horizon)\n",
        "",
        "tests/unit/test_sources_that_change.py::test_r20_a_clock_that_went_back_loses_no_row",
    ),
    Broken(
        "R20",
        "a sequence's cache is not asked for",
        "sources/postgres_storage.py",
        "if sequence.cache > 1:",
        "if False:",
        "tests/sources/test_r19_r20_postgres.py::test_r20_a_cursor_whose_numbers_need_not_grow_is_refused_by_name",
    ),
    Broken(
        "R20",
        "a run that gave way is as complete as what it read",
        "runner.py",
        "            return outcome.complete_through\n",
        "            return self.facts.tables[name].horizon.instant\n",
        "tests/unit/test_sources_that_change.py::"
        "test_r20_a_run_that_was_overtaken_is_no_more_complete_than_what_was_merged",
    ),
    Broken(
        "R21",
        "a mart's expressions and filter are not looked at",
        "lake/spark.py",
        "                comparison.require_row_local()",
        "                pass",
        "tests/e2e/test_rules_marts.py::test_r21_what_is_more_than_its_row_is_refused_before_anything_is_written",
    ),
    Broken(
        "R21",
        "columns are joined by their texts whatever their source takes for equal",
        "equality.py",
        "elif kinds[table][column].startswith(OTHERWISE):",
        "elif False:",
        "tests/unit/test_equality.py::test_r21_what_is_equal_otherwise_than_by_value_is_refused_with_itself",
    ),
    Broken(
        "R21",
        "a check is asked again of each row",
        "lake/checked.py",
        "        self._checks = self._checks.judged",
        "        pass",
        "tests/e2e/test_rules_marts.py::test_r21_each_row_has_one_verdict_and_is_in_one_table",
    ),
    Broken(
        "D1",
        "a mart follows its root table alone",
        "mart_runner.py",
        "changed = [mirror.table for mirror in consumed if mirror.run_ids]",
        "changed = [mirror.table for mirror in consumed[:1] if mirror.run_ids]",
        "tests/e2e/test_defects.py::test_d1_a_change_on_one_side_alone_reaches_the_mart",
    ),
    Broken(
        "D2",
        "every window starts where the fastest table is",
        "windows.py",
        'return state.watermark, "the mirror\'s watermark"\n\n\ndef _integer_start',
        'return file or state.watermark, "the file"\n\n\ndef _integer_start',
        "tests/e2e/test_defects.py::test_d2_a_slower_table_loses_no_rows",
    ),
    Broken(
        "D3",
        "the file moves although a table failed",
        "runner.py",
        "if any(name not in tables or tables[name].outcome == FAILED for name in enabled):",
        "if any(name not in tables for name in enabled):",
        "tests/e2e/test_defects.py::test_d3_a_table_that_failed_once_loses_no_rows",
    ),
    Broken(
        "D4",
        "changes are appended",
        "lake/changes.py",
        "if set(self.counts) == {INSERT}:",
        "if True:",
        "tests/e2e/test_defects.py::test_d4_updates_reruns_and_full_loads_double_no_row",
    ),
    Broken(
        "D5",
        "the lower bound is open",
        "sources/postgres_table.py",
        "return sql.SQL(\"({} >= {} or {} is null or {} = '-infinity')\")",
        "return sql.SQL(\"({} > {} or {} is null or {} = '-infinity')\")",
        "tests/e2e/test_defects.py::test_d5_a_row_tied_with_the_watermark_is_read",
    ),
    Broken(
        "D6",
        "digests of equal count are equal",
        "slices.py",
        "if source.get(n) != mirror.get(n))",
        "if source.get(n) is None or mirror.get(n) is None or source[n].rows != mirror[n].rows)",
        "tests/e2e/test_defects.py::test_d6_what_the_cursor_does_not_see_is_found[reconcile]",
    ),
    Broken(
        "D7",
        "the window is left out of the query",
        "sources/postgres_table.py",
        "if window.lower is None or self.cursor is None:",
        "if True:",
        "tests/e2e/test_defects.py::test_d7_window_and_columns_are_the_servers_work",
    ),
    Broken(
        "D8",
        "colliding columns keep their names",
        "mart.py",
        "if counts[o.name.lower()] > 1 else o for o in shown]",
        "if counts[o.name.lower()] > 9 else o for o in shown]",
        "tests/e2e/test_defects.py::test_d8_columns_of_the_same_name_have_fixed_names_in_the_mart",
    ),
    Broken(
        "D9",
        "the exit code is always 0",
        "report.py",
        "return codes.pop() if len(codes) == 1 else 1",
        "return 0",
        "tests/e2e/test_defects.py::test_d9_a_failure_is_told_and_the_next_run_resumes",
    ),
    Broken(
        "D10",
        "columns are not known by their numbers",
        "planner.py",
        "change = renumbered(change, recorded, source.numbers)",
        "change = renumbered(change, {}, source.numbers)",
        "tests/e2e/test_defects.py::test_d10_columns_that_change_reach_mirror_and_mart_or_stop_one_table_alone",
    ),
    Broken(
        "D11",
        "a missing table ends the run",
        "gathering.py",
        "(of one table alone, R9)\n            return deliberate(name, error)",
        "(of one table alone, R9)\n            raise",
        "tests/e2e/test_defects.py::test_d11_a_missing_table_ends_nothing_and_its_return_resumes",
    ),
)


def failure_of(broken: Broken) -> str | None:
    """Return the last line that the rule's test failed with; None where it passed all the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE, copy)
        file = copy / PACKAGE / broken.file
        text = file.read_text("utf-8")
        for kept, instead in ((broken.kept, broken.broken), broken.also):
            text = text.replace(kept, instead) if kept else text
        file.write_text(text, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "--show-capture=no", broken.test],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "300"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stdout + done.stderr)
    said = [line for line in done.stdout.splitlines() if line.startswith(("E ", "/", "FAILED"))]
    return None if done.returncode == 0 else said[-1] if said else "failed"


def main(wanted: list[str]) -> int:
    """Break what is `wanted` (default: all), print what failed; return how many were not noticed."""
    console = Console(width=180)
    table = Table("rule", "broken by", "test", "failed with")
    unnoticed = 0
    for broken in BROKEN:
        if wanted and broken.rule not in wanted:
            continue
        failure = failure_of(broken)
        unnoticed += failure is None
        console.print(f"{broken.rule}: {failure or 'NOT NOTICED'}", markup=False)
        table.add_row(broken.rule, broken.how, broken.test.split("::")[-1], failure or "NOT NOTICED")
    console.print(table)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
