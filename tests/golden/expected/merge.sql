MERGE INTO `lake`.`db`.`queue` AS _datamart_old
USING `changes_of_queue` AS _datamart_new
ON ((_datamart_old.`queue_id` >= 7L AND _datamart_old.`queue_id` <= 9L) OR _datamart_old.`queue_id` = 500L) AND _datamart_old.`queue_id` <=> _datamart_new.`queue_id` AND _datamart_new._datamart_change <> 'insert'
WHEN MATCHED AND _datamart_new._datamart_change = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET _datamart_old.`account_id` = _datamart_new.`account_id`, _datamart_old.`name` = _datamart_new.`name`, _datamart_old.`updated_at` = _datamart_new.`updated_at`, _datamart_old.`_run_id` = '20260301T120000.000000Z-1a2b3c4d', _datamart_old.`_merged_at` = timestamp_micros(1772366400000000L)
WHEN NOT MATCHED AND _datamart_new._datamart_change <> 'delete' THEN INSERT (`queue_id`, `account_id`, `name`, `updated_at`, `_run_id`, `_merged_at`, `old_column`) VALUES (_datamart_new.`queue_id`, _datamart_new.`account_id`, _datamart_new.`name`, _datamart_new.`updated_at`, '20260301T120000.000000Z-1a2b3c4d', timestamp_micros(1772366400000000L), NULL)
