-- Records that each commit of "${table}" added and deleted: an update is both.
SELECT committed_at, element_at(summary, 'iceberg-datamart.run-id') AS run_id, operation,
       CAST(element_at(summary, 'added-records') AS bigint) AS added,
       CAST(coalesce(element_at(summary, 'added-position-deletes'),
                     element_at(summary, 'deleted-records')) AS bigint) AS deleted
FROM "${table}$snapshots" ORDER BY committed_at DESC;
