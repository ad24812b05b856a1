output "job_name" {
  description = "For aws glue start-job-run --job-name"
  value       = aws_glue_job.datamart.name
}

output "job_role_arn" {
  description = "The job's role"
  value       = aws_iam_role.job.arn
}

output "iceberg_database" {
  description = "Glue database of mirrors and marts"
  value       = aws_glue_catalog_database.iceberg.name
}

output "warehouse" {
  description = "Folder of mirrors and marts"
  value       = local.warehouse_place
}

output "timestamp_file" {
  description = "The file that says up to where every table is complete"
  value       = local.timestamp_file
}

output "workgroup" {
  description = "For aws athena start-query-execution --work-group"
  value       = aws_athena_workgroup.readers.name
}

output "reader_policy_arn" {
  description = "To attach to the roles of those who query"
  value       = aws_iam_policy.reader.arn
}

output "notices_topic_arn" {
  description = "Where failures and stale tables are told"
  value       = aws_sns_topic.notices.arn
}
