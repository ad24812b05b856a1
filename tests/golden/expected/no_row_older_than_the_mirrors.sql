SELECT n.*
FROM `batch` AS n LEFT ANTI JOIN `mirror` AS t
ON t.`queue_id` = n.`queue_id` AND t.`updated_at` IS NOT NULL AND (n.`updated_at` IS NULL OR t.`updated_at` > n.`updated_at`)
