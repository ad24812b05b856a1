SELECT n.`queue_id`, n.`account_id`, n.`name`, n.`updated_at`, CASE WHEN n._datamart_here IS NULL OR false THEN 'delete' WHEN t._datamart_here IS NULL THEN 'insert' ELSE 'update' END AS _datamart_change
FROM (SELECT *, true AS _datamart_here
FROM `batch`) AS n
LEFT JOIN (SELECT *, true AS _datamart_here
FROM `lake`.`db`.`queue` AS t
WHERE ((t.`queue_id` >= 7L AND t.`queue_id` <= 9L) OR t.`queue_id` = 500L)) AS t
ON t.`queue_id` = n.`queue_id`
WHERE n._datamart_here IS NULL OR (t._datamart_here IS NULL AND NOT false) OR (t._datamart_here AND (false OR NOT (n.`queue_id` <=> t.`queue_id` AND n.`account_id` <=> t.`account_id` AND n.`name` <=> t.`name` AND n.`updated_at` <=> t.`updated_at`)))
