SELECT CASE WHEN n._datamart_here IS NULL THEN t.`queue_id` ELSE n.`queue_id` END AS `queue_id`, CASE WHEN n._datamart_here IS NULL THEN t.`account_id` ELSE n.`account_id` END AS `account_id`, CASE WHEN n._datamart_here IS NULL THEN t.`name` ELSE n.`name` END AS `name`, CASE WHEN n._datamart_here IS NULL THEN t.`updated_at` ELSE n.`updated_at` END AS `updated_at`, CASE WHEN n._datamart_here IS NULL OR coalesce(n.`_datamart_deleted`, false) THEN 'delete' WHEN t._datamart_here IS NULL THEN 'insert' ELSE 'update' END AS _datamart_change
FROM (SELECT *, true AS _datamart_here
FROM `batch`) AS n
FULL OUTER JOIN (SELECT *, true AS _datamart_here
FROM `lake`.`db`.`queue` AS t
WHERE true) AS t
ON t.`queue_id` = n.`queue_id`
WHERE n._datamart_here IS NULL OR (t._datamart_here IS NULL AND NOT coalesce(n.`_datamart_deleted`, false)) OR (t._datamart_here AND (coalesce(n.`_datamart_deleted`, false) OR NOT (n.`queue_id` <=> t.`queue_id` AND n.`account_id` <=> t.`account_id` AND n.`name` <=> t.`name` AND n.`updated_at` <=> t.`updated_at`)))
