"""Rule R5 on the real stack: a timestamp file that says nothing certain stops the run before it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.faults.other_tool import maintain_away
from support.shops.shop_rules import UNCHANGED, outcomes, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

HEADER = b"last_load_timestamp\n"
MALFORMED = {
    b"": "it is empty",
    HEADER: "'last_load_timestamp'",
    b"2026-03-01 12:00:00\n": "'2026-03-01 12:00:00'",
    HEADER + b"2026-03-01 12:00:00\n2026-03-02 12:00:00\n": "2026-03-02 12:00:00",
    HEADER + b"2026-02-30 12:00:00\n": "'2026-02-30 12:00:00', which is no date",
    HEADER + b"2026-03-01T12:00:00Z\n": "'2026-03-01T12:00:00Z'",
    HEADER + b"2026-03-01 12:00:00\0\n": r"'2026-03-01 12:00:00\x00'",
    HEADER + b"gestern um f\xfcnf\n": "gestern um f",
    (HEADER + b"2026-03-01 12:00:00\n").decode().encode("utf-16"): "malformed",
}


def test_r5_no_malformed_file_lets_a_run_write_anything(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "waits")
    before = laptop.files(), laptop.snapshot_ids()
    for content, shown in MALFORMED.items():
        laptop.timestamp_file.write_bytes(content)
        for verb in ("run", "plan", "status"):
            ended = laptop.command(verb)
            assert ended.exit_code == 2, content
            assert shown in ended.stderr
            assert "'last_load_timestamp', then one line such as '2026-01-31 08:15:00' (UTC)" in ended.stderr
        assert laptop.timestamp() == content
    laptop.timestamp_file.unlink()
    laptop.timestamp_file.mkdir()
    assert "cannot be read: Is a directory" in laptop.command("run").stderr
    laptop.timestamp_file.rmdir()
    laptop.timestamp_file.symlink_to(laptop.timestamp_file)
    assert "cannot be read: Too many levels of symbolic links" in laptop.command("run").stderr
    assert (laptop.files(), laptop.snapshot_ids()) == before
    laptop.timestamp_file.unlink()
    laptop.timestamp_file.write_bytes(b"\xef\xbb\xbflast_load_timestamp\r\n2025-03-01 12:00:00\r\n")
    assert laptop.run()["tables"]["customer"]["updated"] == 3
    oracle.check(laptop, against_source=True)


def test_r4_a_date_in_the_future_skips_nothing_and_is_warned_of(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    for lose_history in (False, True):
        laptop.timestamp_file.write_bytes(HEADER + b"2999-12-31 23:59:59\n")
        rename(connection, f"not skipped {lose_history}")
        if lose_history:
            maintain_away(laptop)
        warned = laptop.run()["warnings"]
        assert any("says 2999-12-31 23:59:59, ahead of the source's clock 2" in text for text in warned)
        oracle.check(laptop, against_source=True)
        assert b"2999" not in (laptop.timestamp() or b"")
        assert laptop.run()["warnings"] == []
    assert outcomes(laptop.run()) == UNCHANGED
