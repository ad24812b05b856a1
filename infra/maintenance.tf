# The job that compacts files and expires snapshots, where there is a script for it.

resource "aws_s3_object" "maintenance" {
  count       = var.maintenance_script == null ? 0 : 1
  bucket      = local.bucket
  key         = "${local.artifacts}maintenance_job.py"
  source      = var.maintenance_script
  source_hash = filemd5(var.maintenance_script)
  depends_on  = [aws_s3_bucket_server_side_encryption_configuration.lake]
}

resource "aws_glue_job" "maintenance" {
  count                  = var.maintenance_script == null ? 0 : 1
  name                   = "${var.name}-maintenance"
  description            = "Compacts and expires what ${var.name} wrote"
  role_arn               = aws_iam_role.job.arn
  glue_version           = var.glue_version
  execution_class        = "STANDARD"
  worker_type            = var.worker_type
  number_of_workers      = var.number_of_workers
  timeout                = var.timeout_minutes
  connections            = [aws_glue_connection.source.name]
  security_configuration = aws_glue_security_configuration.jobs.name

  command {
    name            = "glueetl"
    python_version  = "3"
    script_location = "s3://${local.bucket}/${aws_s3_object.maintenance[0].key}"
  }
  execution_property {
    max_concurrent_runs = 1
  }
  default_arguments = merge(local.runtime_arguments, local.config_arguments)
  depends_on        = [aws_iam_role_policy.job, aws_s3_object.wheel]
}

resource "aws_glue_trigger" "maintenance" {
  count             = var.maintenance_script == null ? 0 : 1
  name              = "${var.name}-maintenance"
  type              = "SCHEDULED"
  schedule          = var.maintenance_schedule
  start_on_creation = true
  actions {
    job_name = aws_glue_job.maintenance[0].name
  }
}
