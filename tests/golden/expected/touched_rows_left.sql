SELECT r.`queue_id`, r.`transaction_id`
FROM `mart` AS r
WHERE true AND EXISTS (SELECT 1
FROM (SELECT DISTINCT `queue_id` AS `queue_id`
FROM (SELECT x.`queue_id`
FROM `queue`@now AS x
WHERE x.`_run_id` IN ('run-1', 'run-2')
UNION ALL SELECT x.`queue_id`
FROM `queue`@before AS x
WHERE NOT EXISTS (SELECT 1
FROM `queue`@now AS y
WHERE y.`queue_id` = x.`queue_id`)) AS k
UNION SELECT DISTINCT `queue_id` AS `queue_id`
FROM (SELECT x.`queue_id`
FROM `settlement_transaction`@now AS x
WHERE EXISTS (SELECT 1
FROM (SELECT x.`transaction_id`
FROM `settlement_transaction`@now AS x
WHERE x.`_run_id` IN ('run-1', 'run-2')
UNION ALL SELECT x.`transaction_id`
FROM `settlement_transaction`@before AS x
WHERE NOT EXISTS (SELECT 1
FROM `settlement_transaction`@now AS y
WHERE y.`transaction_id` = x.`transaction_id`)) AS c
WHERE c.`transaction_id` = x.`transaction_id`)
UNION SELECT x.`queue_id`
FROM `settlement_transaction`@before AS x
WHERE EXISTS (SELECT 1
FROM (SELECT x.`transaction_id`
FROM `settlement_transaction`@now AS x
WHERE x.`_run_id` IN ('run-1', 'run-2')
UNION ALL SELECT x.`transaction_id`
FROM `settlement_transaction`@before AS x
WHERE NOT EXISTS (SELECT 1
FROM `settlement_transaction`@now AS y
WHERE y.`transaction_id` = x.`transaction_id`)) AS c
WHERE c.`transaction_id` = x.`transaction_id`)) AS k) AS a
WHERE a.`queue_id` = r.`queue_id`)
