SELECT _datamart_new.*
FROM `batch` AS _datamart_new ANTI JOIN `mirror` AS _datamart_old
ON _datamart_old.`queue_id` = _datamart_new.`queue_id` AND _datamart_old.`updated_at` IS NOT NULL AND (_datamart_new.`updated_at` IS NULL OR _datamart_old.`updated_at` > _datamart_new.`updated_at`)
