-- Records that each commit of "${table}" added and deleted: an update is both. Of $snapshots only those that were
-- current: a run stages each before it publishes it, and one that was killed in between leaves it there.
SELECT h.made_current_at, element_at(s.summary, 'iceberg-datamart.run-id') AS run_id, s.operation,
       CAST(element_at(s.summary, 'added-records') AS bigint) AS added,
       CAST(coalesce(element_at(s.summary, 'added-position-deletes'),
                     element_at(s.summary, 'deleted-records')) AS bigint) AS deleted
FROM "${table}$history" h
JOIN "${table}$snapshots" s ON s.snapshot_id = h.snapshot_id
WHERE h.is_current_ancestor ORDER BY h.made_current_at DESC;
