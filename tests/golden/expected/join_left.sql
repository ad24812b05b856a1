SELECT `account_id`, `account_updated_at`, `account_metadata_updated_at`, `account_risk_updated_at`, `queue_id`, `queue_updated_at`, `transaction_id`, `created_at`
FROM (SELECT _datamart_0.`account_id` AS `account_id`, _datamart_0.`updated_at` AS `account_updated_at`, _datamart_1.`updated_at` AS `account_metadata_updated_at`, _datamart_2.`updated_at` AS `account_risk_updated_at`, _datamart_3.`queue_id` AS `queue_id`, _datamart_3.`updated_at` AS `queue_updated_at`, _datamart_4.`transaction_id` AS `transaction_id`, _datamart_4.`created_at` AS `created_at`
FROM `account` AS _datamart_0
INNER JOIN `account_metadata` AS _datamart_1
ON _datamart_1.`account_id` = _datamart_0.`account_id`
INNER JOIN `account_risk` AS _datamart_2
ON _datamart_2.`account_id` = _datamart_0.`account_id`
INNER JOIN `queue` AS _datamart_3
ON _datamart_3.`account_id` = _datamart_0.`account_id`
LEFT JOIN `settlement_transaction` AS _datamart_4
ON _datamart_4.`queue_id` = _datamart_3.`queue_id`) AS _datamart_row
