-- Up to when each mirror is known complete, at the least: a run that finds nothing new commits nothing, so a quiet table
-- looks older than it is. What holds for all of them is the timestamp file; for each, the metric LagSeconds.
%{ for index, name in tables ~}
%{ if index > 0 ~}
UNION ALL
%{ endif ~}
SELECT '${name}' AS table_name, max(s.committed_at) AS staged_at,
       max(from_iso8601_timestamp(element_at(s.summary, 'iceberg-datamart.complete-through'))) AS complete_through
FROM "${name}$snapshots" s
WHERE s.snapshot_id IN (SELECT h.snapshot_id FROM "${name}$history" h WHERE h.is_current_ancestor)
%{ endfor ~}
ORDER BY 3;
