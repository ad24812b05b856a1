# The job and what it consists of: a script, wheels, a configuration; and when it runs.

locals {
  # Filled by wheels.sh: the package and all it needs, built for the runtime's Python and C library.
  wheels_folder = "${path.module}/../dist/glue-${var.glue_version}"
  wheels        = fileset(local.wheels_folder, "*.whl")
  wheel_places  = [for wheel in sort(local.wheels) : "s3://${local.bucket}/${local.artifacts}wheels/${var.glue_version}/${wheel}"]
  own_wheels    = [for wheel in local.wheels : wheel if startswith(wheel, "iceberg_datamart-")]
  # The shipped configuration names the seed's bucket.
  config_text = var.config_file == null ? yamlencode({ version = 1, catalog = { warehouse = local.warehouse_place } }) : file(var.config_file)
  config_warehouse = replace(
    try(yamldecode(local.config_text).catalog.warehouse, "s3://iceberg-logics-sandeep/${local.warehouse}"),
    "$${database_name}", var.database_name,
  )

  # Glue takes all Spark settings as one argument. Extensions cannot be added to a running session; and the
  # JDBC driver shifts timestamps by the JVM's zone.
  spark_settings = join(" --conf ", [
    "spark.sql.extensions=org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.driver.extraJavaOptions=-Duser.timezone=UTC",
    "spark.executor.extraJavaOptions=-Duser.timezone=UTC",
  ])
  runtime_arguments = merge(
    {
      "--job-language"              = "python"
      "--job-bookmark-option"       = "job-bookmark-disable"
      "--additional-python-modules" = join(",", local.wheel_places)
      # Nothing is loaded from outside, and what is there already does not hold anything back.
      "--python-modules-installer-option"  = "--no-index --no-deps"
      "--enable-continuous-cloudwatch-log" = "true"
      "--conf"                             = local.spark_settings
    },
    length(var.extra_jars) == 0
    ? { "--datalake-formats" = "iceberg" }
    : { "--extra-jars" = join(",", var.extra_jars), "--user-jars-first" = "true" },
  )
  config_arguments = {
    "--database_name"  = local.source_database
    "--config_s3_path" = "s3://${local.bucket}/${aws_s3_object.config.key}"
  }
  job_names = concat([aws_glue_job.datamart.name], aws_glue_job.maintenance[*].name)
}

resource "aws_s3_object" "script" {
  bucket      = local.bucket
  key         = "${local.artifacts}datamart_job.py"
  source      = "${path.module}/../jobs/datamart_job.py"
  source_hash = filemd5("${path.module}/../jobs/datamart_job.py")
  depends_on  = [aws_s3_bucket_server_side_encryption_configuration.lake]
}

resource "aws_s3_object" "wheel" {
  for_each    = local.wheels
  bucket      = local.bucket
  key         = "${local.artifacts}wheels/${var.glue_version}/${each.key}"
  source      = "${local.wheels_folder}/${each.key}"
  source_hash = filemd5("${local.wheels_folder}/${each.key}")
  depends_on  = [aws_s3_bucket_server_side_encryption_configuration.lake]
}

resource "aws_s3_object" "config" {
  bucket     = local.bucket
  key        = "${local.artifacts}datamart.yaml"
  content    = local.config_text
  depends_on = [aws_s3_bucket_server_side_encryption_configuration.lake]

  lifecycle {
    precondition {
      condition     = startswith("${trimsuffix(local.config_warehouse, "/")}/", "${local.warehouse_place}/")
      error_message = "config_file must say catalog.warehouse: ${local.warehouse_place} or a folder in it: the job may write nowhere else."
    }
  }
}

resource "aws_glue_security_configuration" "jobs" {
  name = var.name

  encryption_configuration {
    cloudwatch_encryption {
      cloudwatch_encryption_mode = "SSE-KMS"
      kms_key_arn                = local.key_arn
    }
    job_bookmarks_encryption {
      job_bookmarks_encryption_mode = "CSE-KMS"
      kms_key_arn                   = local.key_arn
    }
    s3_encryption {
      s3_encryption_mode = "SSE-KMS"
      kms_key_arn        = local.key_arn
    }
  }
}

resource "aws_glue_job" "datamart" {
  name                   = var.name
  description            = "Merges PostgreSQL tables into Iceberg mirrors and keeps their mart"
  role_arn               = aws_iam_role.job.arn
  glue_version           = var.glue_version
  execution_class        = "STANDARD"
  worker_type            = var.worker_type
  number_of_workers      = var.number_of_workers
  timeout                = var.timeout_minutes
  max_retries            = var.max_retries
  connections            = [aws_glue_connection.source.name]
  security_configuration = aws_glue_security_configuration.jobs.name

  command {
    name            = "glueetl"
    python_version  = "3"
    script_location = "s3://${local.bucket}/${aws_s3_object.script.key}"
  }
  # Two runs at once would do no harm, only work twice.
  execution_property {
    max_concurrent_runs = 1
  }
  default_arguments = merge(local.runtime_arguments, local.config_arguments, {
    "--timestamp_s3_path" = local.timestamp_file
    "--load_type"         = "incremental"
  })
  depends_on = [aws_iam_role_policy.job, aws_s3_object.wheel]

  lifecycle {
    precondition {
      condition     = length(local.own_wheels) == 1
      error_message = "dist/glue-${var.glue_version} must hold one wheel of iceberg_datamart, not ${length(local.own_wheels)}: run infra/wheels.sh ${var.glue_version}."
    }
  }
}

resource "aws_glue_trigger" "datamart" {
  count             = var.schedule == null ? 0 : 1
  name              = var.name
  type              = "SCHEDULED"
  schedule          = var.schedule
  start_on_creation = true
  actions {
    job_name = aws_glue_job.datamart.name
  }
}
