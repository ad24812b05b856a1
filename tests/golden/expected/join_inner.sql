SELECT `account_id`, `account_updated_at`, `account_metadata_updated_at`, `account_risk_updated_at`, `queue_id`, `queue_updated_at`, `transaction_id`, `created_at`
FROM (SELECT j0.`account_id` AS `account_id`, j0.`updated_at` AS `account_updated_at`, j1.`updated_at` AS `account_metadata_updated_at`, j2.`updated_at` AS `account_risk_updated_at`, j3.`queue_id` AS `queue_id`, j3.`updated_at` AS `queue_updated_at`, j4.`transaction_id` AS `transaction_id`, j4.`created_at` AS `created_at`
FROM `account` AS j0
INNER JOIN `account_metadata` AS j1
ON j1.`account_id` = j0.`account_id`
INNER JOIN `account_risk` AS j2
ON j2.`account_id` = j0.`account_id`
INNER JOIN `queue` AS j3
ON j3.`account_id` = j0.`account_id`
INNER JOIN `settlement_transaction` AS j4
ON j4.`queue_id` = j3.`queue_id`) AS r
