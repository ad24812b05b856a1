-- How far each mirror was known complete when it last changed. A run that finds nothing new writes no snapshot; that
-- it ran, the timestamp file and the metric LagSeconds say.
%{ for index, name in tables ~}
%{ if index > 0 ~}
UNION ALL
%{ endif ~}
(SELECT '${name}' AS table_name, h.made_current_at,
        element_at(s.summary, 'iceberg-datamart.complete-through') AS complete_through
 FROM "${name}$history" h JOIN "${name}$snapshots" s ON s.snapshot_id = h.snapshot_id
 WHERE h.is_current_ancestor ORDER BY h.made_current_at DESC LIMIT 1)
%{ endfor ~}
ORDER BY 2;
