MERGE INTO `lake`.`db`.`queue` AS t
USING `changes_of_queue` AS s
ON ((t.`queue_id` >= 7L AND t.`queue_id` <= 9L) OR t.`queue_id` = 500L) AND t.`queue_id` <=> s.`queue_id`
WHEN MATCHED AND s._datamart_change = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET t.`account_id` = s.`account_id`, t.`name` = s.`name`, t.`updated_at` = s.`updated_at`, t.`_run_id` = '20260301T120000.000000Z-1a2b3c4d', t.`_merged_at` = timestamp_micros(1772366400000000L)
WHEN NOT MATCHED AND s._datamart_change <> 'delete' THEN INSERT (`queue_id`, `account_id`, `name`, `updated_at`, `_run_id`, `_merged_at`, `old_column`) VALUES (s.`queue_id`, s.`account_id`, s.`name`, s.`updated_at`, '20260301T120000.000000Z-1a2b3c4d', timestamp_micros(1772366400000000L), NULL)
