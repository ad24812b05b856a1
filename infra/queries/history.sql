-- The states of "${table}": when each began, what wrote it, and whether the table still descends from it.
SELECT h.made_current_at, h.snapshot_id, h.is_current_ancestor, s.operation,
       element_at(s.summary, 'iceberg-datamart.run-id') AS run_id,
       element_at(s.summary, 'iceberg-datamart.load-type') AS load_type,
       element_at(s.summary, 'iceberg-datamart.watermark') AS watermark
FROM "${table}$history" h
JOIN "${table}$snapshots" s ON s.snapshot_id = h.snapshot_id
ORDER BY h.made_current_at DESC;
