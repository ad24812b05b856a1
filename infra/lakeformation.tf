# Grants for accounts whose Glue catalog is ruled by Lake Formation. IAM allows the same; both must.

locals {
  lake_readers = toset(var.lake_formation ? var.reader_arns : [])
}

resource "aws_lakeformation_resource" "warehouse" {
  count                   = var.lake_formation ? 1 : 0
  arn                     = "${local.bucket_arn}/${local.warehouse}"
  use_service_linked_role = true
  # Tables that IAM alone allows go on as before.
  hybrid_access_enabled = true
}

resource "aws_lakeformation_permissions" "job_location" {
  count       = var.lake_formation ? 1 : 0
  principal   = aws_iam_role.job.arn
  permissions = ["DATA_LOCATION_ACCESS"]
  data_location {
    arn = aws_lakeformation_resource.warehouse[0].arn
  }
}

resource "aws_lakeformation_permissions" "job_database" {
  count       = var.lake_formation ? 1 : 0
  principal   = aws_iam_role.job.arn
  permissions = ["CREATE_TABLE", "DESCRIBE"]
  database {
    name = aws_glue_catalog_database.iceberg.name
  }
}

resource "aws_lakeformation_permissions" "job_tables" {
  count       = var.lake_formation ? 1 : 0
  principal   = aws_iam_role.job.arn
  permissions = ["ALTER", "DELETE", "DESCRIBE", "INSERT", "SELECT"]
  table {
    database_name = aws_glue_catalog_database.iceberg.name
    wildcard      = true
  }
}

resource "aws_lakeformation_permissions" "job_source" {
  count       = var.lake_formation ? 1 : 0
  principal   = aws_iam_role.job.arn
  permissions = ["DESCRIBE", "SELECT"]
  table {
    database_name = local.source_database
    wildcard      = true
  }
}

resource "aws_lakeformation_permissions" "reader_database" {
  for_each    = local.lake_readers
  principal   = each.key
  permissions = ["DESCRIBE"]
  database {
    name = aws_glue_catalog_database.iceberg.name
  }
}

resource "aws_lakeformation_permissions" "reader_tables" {
  for_each    = local.lake_readers
  principal   = each.key
  permissions = ["DESCRIBE", "SELECT"]
  table {
    database_name = aws_glue_catalog_database.iceberg.name
    wildcard      = true
  }
}
