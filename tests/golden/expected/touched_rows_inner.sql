SELECT _datamart_row.`queue_id`, _datamart_row.`transaction_id`
FROM (SELECT _datamart_row.*
FROM `mart` AS _datamart_row SEMI JOIN (SELECT DISTINCT `queue_id` AS `queue_id`
FROM (SELECT _datamart_row.`queue_id`
FROM `queue`@now AS _datamart_row
WHERE _datamart_row.`_run_id` IN ('run-1', 'run-2')
UNION ALL SELECT _datamart_row.`queue_id`
FROM `queue`@before AS _datamart_row
WHERE NOT EXISTS (SELECT 1
FROM `queue`@now AS _datamart_other
WHERE _datamart_other.`queue_id` <=> _datamart_row.`queue_id`)) AS _datamart_row) AS _datamart_other
ON _datamart_other.`queue_id` <=> _datamart_row.`queue_id`) AS _datamart_row
UNION ALL SELECT _datamart_row.`queue_id`, _datamart_row.`transaction_id`
FROM (SELECT _datamart_row.*
FROM (SELECT _datamart_row.*
FROM `mart` AS _datamart_row SEMI JOIN (SELECT DISTINCT `transaction_id` AS `transaction_id`
FROM (SELECT _datamart_row.`transaction_id`
FROM `settlement_transaction`@now AS _datamart_row
WHERE _datamart_row.`_run_id` IN ('run-1', 'run-2')
UNION ALL SELECT _datamart_row.`transaction_id`
FROM `settlement_transaction`@before AS _datamart_row
WHERE NOT EXISTS (SELECT 1
FROM `settlement_transaction`@now AS _datamart_other
WHERE _datamart_other.`transaction_id` <=> _datamart_row.`transaction_id`)) AS _datamart_row) AS _datamart_other
ON _datamart_other.`transaction_id` <=> _datamart_row.`transaction_id`) AS _datamart_row ANTI JOIN (SELECT DISTINCT `queue_id` AS `queue_id`
FROM (SELECT _datamart_row.`queue_id`
FROM `queue`@now AS _datamart_row
WHERE _datamart_row.`_run_id` IN ('run-1', 'run-2')
UNION ALL SELECT _datamart_row.`queue_id`
FROM `queue`@before AS _datamart_row
WHERE NOT EXISTS (SELECT 1
FROM `queue`@now AS _datamart_other
WHERE _datamart_other.`queue_id` <=> _datamart_row.`queue_id`)) AS _datamart_row) AS _datamart_other
ON _datamart_other.`queue_id` <=> _datamart_row.`queue_id`) AS _datamart_row
