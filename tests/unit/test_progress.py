"""What is said of tables in work: the phase, the rows so far, and for how long."""

from __future__ import annotations

from iceberg_datamart.core.report.progress import LOCKED, READING, WRITING, Board, still_text


class Watch:
    """A clock that the test moves on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_each_phase_with_its_rows_and_its_seconds() -> None:
    watch = Watch()
    board = Board(watch)
    with board.work("settlement_transaction", READING), board.work("queue", LOCKED, note="held by process 7"):
        board.tell("settlement_transaction", READING, total=5_000_000)
        board.count("settlement_transaction", 700_000)
        board.count("settlement_transaction", 500_000)
        watch.now += 45
        assert still_text(board.in_work(), watch()) == (
            "still reading settlement_transaction: 1,200,000 of 5,000,000 rows, 45 s; "
            "waiting for a lock on queue, held by process 7: 45 s"
        )
        assert board.in_work()[0].rate_text(watch()) == "26,667/s"


def test_a_phase_begins_with_no_rows_and_what_is_done_is_not_in_work() -> None:
    watch = Watch()
    board = Board(watch)
    with board.work("queue", READING):
        board.count("queue", 10)
        watch.now += 3
        board.tell("queue", WRITING, total=4)
        (work,) = board.in_work()
        assert (work.doing, work.rows_text(), work.rate_text(watch())) == ("writing queue", "", "")
        board.count("queue", 5)
        assert work.rows_text() == "5 rows", "a total that was passed is none"
    board.tell("queue", READING)
    board.count("queue", 1)
    assert board.in_work() == []


def test_a_wait_that_is_told_again_lasts_since_its_beginning() -> None:
    watch = Watch()
    board = Board(watch)
    with board.work("queue", LOCKED, note="held by process 7"):
        watch.now += 5
        with board.work("queue", LOCKED, note="held by process 8"):
            watch.now += 5
            assert still_text(board.in_work(), watch()) == (
                "still waiting for a lock on queue, held by process 8: 10 s"
            )
