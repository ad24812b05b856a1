SELECT CASE WHEN _datamart_new._datamart_here IS NULL THEN _datamart_old.`queue_id` ELSE _datamart_new.`queue_id` END AS `queue_id`, CASE WHEN _datamart_new._datamart_here IS NULL THEN _datamart_old.`account_id` ELSE _datamart_new.`account_id` END AS `account_id`, CASE WHEN _datamart_new._datamart_here IS NULL THEN _datamart_old.`name` ELSE _datamart_new.`name` END AS `name`, CASE WHEN _datamart_new._datamart_here IS NULL THEN _datamart_old.`updated_at` ELSE _datamart_new.`updated_at` END AS `updated_at`, coalesce(_datamart_old._datamart_copies, 0) AS _datamart_copies, CASE WHEN _datamart_new._datamart_here IS NULL OR coalesce(_datamart_new.`_datamart_deleted`, false) THEN 'delete' WHEN coalesce(_datamart_old._datamart_copies > 1, false) THEN 'replace' WHEN _datamart_old._datamart_here IS NULL THEN 'insert' ELSE 'update' END AS _datamart_change
FROM (SELECT *, true AS _datamart_here
FROM `batch`) AS _datamart_new
FULL OUTER JOIN (SELECT *
FROM (SELECT *, true AS _datamart_here, count(*) OVER (PARTITION BY `queue_id`) AS _datamart_copies, row_number() OVER (PARTITION BY `queue_id` ORDER BY `queue_id`) AS _datamart_place
FROM `lake`.`db`.`queue` AS _datamart_old
WHERE true) AS _datamart_old
WHERE _datamart_place = 1) AS _datamart_old
ON _datamart_old.`queue_id` = _datamart_new.`queue_id`
WHERE coalesce(_datamart_old._datamart_copies > 1, false) OR _datamart_new._datamart_here IS NULL OR (_datamart_old._datamart_here IS NULL AND NOT coalesce(_datamart_new.`_datamart_deleted`, false)) OR (_datamart_old._datamart_here AND (coalesce(_datamart_new.`_datamart_deleted`, false) OR NOT (_datamart_new.`queue_id` <=> _datamart_old.`queue_id` AND _datamart_new.`account_id` <=> _datamart_old.`account_id` AND _datamart_new.`name` <=> _datamart_old.`name` AND _datamart_new.`updated_at` <=> _datamart_old.`updated_at`)))
