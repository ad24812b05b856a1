SELECT _datamart_new.`queue_id`, _datamart_new.`account_id`, _datamart_new.`name`, _datamart_new.`updated_at`, coalesce(_datamart_old._datamart_copies, 0) AS _datamart_copies, CASE WHEN _datamart_new._datamart_here IS NULL OR false THEN 'delete' WHEN coalesce(_datamart_old._datamart_copies > 1, false) THEN 'replace' WHEN _datamart_old._datamart_here IS NULL THEN 'insert' ELSE 'update' END AS _datamart_change
FROM (SELECT *, true AS _datamart_here
FROM `batch`) AS _datamart_new
LEFT JOIN (SELECT *
FROM (SELECT *, true AS _datamart_here, count(*) OVER (PARTITION BY `queue_id`) AS _datamart_copies, row_number() OVER (PARTITION BY `queue_id` ORDER BY `queue_id`) AS _datamart_place
FROM `lake`.`db`.`queue` AS _datamart_old
WHERE ((_datamart_old.`queue_id` >= 7L AND _datamart_old.`queue_id` <= 9L) OR _datamart_old.`queue_id` = 500L)) AS _datamart_old
WHERE _datamart_place = 1) AS _datamart_old
ON _datamart_old.`queue_id` = _datamart_new.`queue_id`
WHERE coalesce(_datamart_old._datamart_copies > 1, false) OR _datamart_new._datamart_here IS NULL OR (_datamart_old._datamart_here IS NULL AND NOT false) OR (_datamart_old._datamart_here AND (false OR NOT (_datamart_new.`queue_id` <=> _datamart_old.`queue_id` AND _datamart_new.`account_id` <=> _datamart_old.`account_id` AND _datamart_new.`name` <=> _datamart_old.`name` AND _datamart_new.`updated_at` <=> _datamart_old.`updated_at`)))
