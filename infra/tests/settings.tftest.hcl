# Wrong settings are refused, right ones arrive where they belong. Without a cloud: terraform test.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  jdbc_url   = "jdbc:postgresql://db.example.com:6432/prd"
  secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:reader-AbCdEf"
  network    = { vpc_id = "vpc-1", subnet_id = "subnet-1", availability_zone = "eu-central-1a" }
}

run "defaults_are_those_of_the_seed" {
  command = plan

  assert {
    condition     = aws_s3_bucket.lake[0].bucket == "iceberg-logics-sandeep"
    error_message = "the bucket has another name"
  }
  assert {
    condition     = aws_glue_catalog_database.iceberg.name == "account_metadata_datamart_iceberg"
    error_message = "the database has another name"
  }
  assert {
    condition     = aws_glue_job.datamart.default_arguments["--timestamp_s3_path"] == "s3://iceberg-logics-sandeep/state/last_load_timestamp.csv"
    error_message = "the timestamp file is elsewhere"
  }
  assert {
    condition     = length(aws_glue_catalog_database.source) == 0 && length(aws_glue_job.maintenance) == 0
    error_message = "something is made that nobody asked for"
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.database.from_port == 6432
    error_message = "the port of jdbc_url is not the one that is open"
  }
}

run "what_is_there_already_is_left_as_it_is_and_what_is_not_wanted_is_not_made" {
  command = plan
  variables {
    jdbc_url      = "jdbc:postgresql://db.example.com/prd"
    create_bucket = false
    kms_key_arn   = "arn:aws:kms:eu-central-1:123456789012:key/1"
    schedule      = null
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.database.from_port == 5432
    error_message = "an address without a port means another one than 5432"
  }
  assert {
    condition     = length(aws_s3_bucket.lake) + length(aws_s3_bucket_policy.lake) + length(aws_s3_bucket_lifecycle_configuration.lake) == 0
    error_message = "settings of an existing bucket would be changed"
  }
  assert {
    condition     = length(aws_kms_key.lake) == 0 && aws_sns_topic.notices.kms_master_key_id == "arn:aws:kms:eu-central-1:123456789012:key/1"
    error_message = "another key is used"
  }
  assert {
    condition     = length(aws_glue_trigger.datamart) == 0
    error_message = "there is a trigger without a schedule"
  }
}

run "source_tables_are_named_as_a_crawler_names_them_and_own_jars_take_the_place_of_glues" {
  command = plan
  variables {
    create_source_database = true
    extra_jars             = ["s3://iceberg-logics-sandeep/artifacts/iceberg.jar"]
  }

  assert {
    condition     = aws_glue_catalog_table.source["queue"].name == "account_metadata_datamart_public_queue"
    error_message = "the job will not find its source tables"
  }
  assert {
    condition     = aws_glue_catalog_table.source["queue"].storage_descriptor[0].location == "prd.public.queue"
    error_message = "the location is not database.schema.table"
  }
  assert {
    condition     = !contains(keys(aws_glue_job.datamart.default_arguments), "--datalake-formats")
    error_message = "two Icebergs on one class path"
  }
}

# Each setting that is wrong by itself, each of them refused.
run "settings_that_cannot_be_are_refused" {
  command = plan
  variables {
    glue_version      = "5.0"
    jdbc_url          = "jdbc:postgresql://db.example.com/prd?password=secret"
    secret_arn        = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:*"
    bucket_name       = "iceberg.logics"
    schedule          = "every hour"
    stale_after_hours = 48
    number_of_workers = 1
    source_folders    = ["s3://landing/*"]
  }
  expect_failures = [
    var.glue_version,
    var.jdbc_url,
    var.secret_arn,
    var.bucket_name,
    var.schedule,
    var.stale_after_hours,
    var.number_of_workers,
    var.source_folders,
  ]
}

# Such as are wrong beside others, and the second way in which an address can be wrong.
run "settings_that_others_forbid_are_refused" {
  command = plan
  variables {
    jdbc_url      = "jdbc:postgresql://reader@db.example.com/prd"
    vpc_endpoints = true
    extra_jars    = ["s3://elsewhere/iceberg.jar"]
  }
  expect_failures = [var.jdbc_url, var.vpc_endpoints, var.extra_jars]
}

run "a_warehouse_where_the_job_may_not_write_is_refused" {
  command = plan
  variables { config_file = "tests/elsewhere.yaml" }
  expect_failures = [aws_s3_object.config]
}
