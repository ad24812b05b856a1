-- Rows that each commit to "${table}" inserted, updated and deleted, as the run counted them; newest first. Of another
-- tool's commit nothing is known (NULL), but that a compaction (replace) changes no row. Only commits that the table
-- descends from: a run stages each before it publishes it, and one that was killed in between leaves it there.
SELECT s.committed_at AS staged_at, element_at(s.summary, 'iceberg-datamart.run-id') AS run_id, s.operation,
       CASE WHEN s.operation = 'replace' THEN 0
            WHEN element_at(s.summary, 'iceberg-datamart.run-id') IS NOT NULL
            THEN CAST(coalesce(element_at(s.summary, 'iceberg-datamart.inserted'),
                               element_at(s.summary, 'added-records'), '0') AS bigint) END AS inserted,
       CASE WHEN s.operation = 'replace' THEN 0
            WHEN element_at(s.summary, 'iceberg-datamart.run-id') IS NOT NULL
            THEN CAST(coalesce(element_at(s.summary, 'iceberg-datamart.updated'), '0') AS bigint) END AS updated,
       CASE WHEN s.operation = 'replace' THEN 0
            WHEN element_at(s.summary, 'iceberg-datamart.run-id') IS NOT NULL
            THEN CAST(coalesce(element_at(s.summary, 'iceberg-datamart.deleted'), '0') AS bigint) END AS deleted
FROM "${table}$snapshots" s
WHERE s.snapshot_id IN (SELECT h.snapshot_id FROM "${table}$history" h WHERE h.is_current_ancestor)
ORDER BY s.committed_at DESC;
