SELECT `queue_id`, `account_id`, `name`, `updated_at`
FROM (SELECT *, row_number() OVER (PARTITION BY `queue_id` ORDER BY `updated_at` DESC NULLS LAST, `account_id` DESC NULLS LAST, `name` DESC NULLS LAST) AS _datamart_place
FROM `batch`)
WHERE _datamart_place = 1
