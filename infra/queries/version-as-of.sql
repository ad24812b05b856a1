-- "${table}" in one snapshot: put a snapshot_id of the query `history` in the place of 1.
SELECT * FROM "${table}" FOR VERSION AS OF 1 LIMIT 100;
