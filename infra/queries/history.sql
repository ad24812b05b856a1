-- The snapshots that "${table}" descends from, newest first: when each was staged (readers saw it some time later), and
-- what wrote it.
SELECT s.committed_at AS staged_at, s.snapshot_id, s.operation,
       element_at(s.summary, 'iceberg-datamart.run-id') AS run_id,
       element_at(s.summary, 'iceberg-datamart.load-type') AS load_type,
       element_at(s.summary, 'iceberg-datamart.watermark') AS watermark
FROM "${table}$snapshots" s
WHERE s.snapshot_id IN (SELECT h.snapshot_id FROM "${table}$history" h WHERE h.is_current_ancestor)
ORDER BY s.committed_at DESC;
