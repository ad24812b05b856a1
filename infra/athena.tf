# Where analysts ask, how much a question may read, and questions to begin with.

resource "aws_athena_workgroup" "readers" {
  name          = var.name
  description   = "Queries of ${local.iceberg_database}"
  force_destroy = true

  configuration {
    # What a client asks for cannot undo encryption or the limit.
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_limit_gb * 1024 * 1024 * 1024

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }
    result_configuration {
      output_location = "s3://${local.bucket}/${local.results}"
      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = local.key_arn
      }
    }
  }
}

locals {
  queries = {
    history         = "The snapshots of a table: when each was staged, and what wrote it"
    time-travel     = "A table as it was at an instant"
    version-as-of   = "A table as it was in one snapshot"
    freshness       = "How far each mirror is known complete"
    changes-per-run = "Rows that each run added and deleted"
  }
}

resource "aws_athena_named_query" "queries" {
  for_each    = local.queries
  name        = each.key
  description = each.value
  workgroup   = aws_athena_workgroup.readers.id
  database    = aws_glue_catalog_database.iceberg.name
  query       = templatefile("${path.module}/queries/${each.key}.sql", { tables = var.tables, table = var.tables[0] })
}
