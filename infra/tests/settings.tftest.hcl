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

run "an_address_without_port_means_5432" {
  command = plan
  variables { jdbc_url = "jdbc:postgresql://db.example.com/prd" }

  assert {
    condition     = aws_vpc_security_group_egress_rule.database.from_port == 5432
    error_message = "another port is open"
  }
}

run "an_existing_bucket_is_left_as_it_is" {
  command = plan
  variables { create_bucket = false }

  assert {
    condition     = length(aws_s3_bucket.lake) + length(aws_s3_bucket_policy.lake) + length(aws_s3_bucket_lifecycle_configuration.lake) == 0
    error_message = "settings of an existing bucket would be changed"
  }
}

run "an_existing_key_is_used_for_everything" {
  command = plan
  variables { kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1" }

  assert {
    condition     = length(aws_kms_key.lake) == 0 && aws_sns_topic.notices.kms_master_key_id == "arn:aws:kms:eu-central-1:123456789012:key/1"
    error_message = "another key is used"
  }
}

run "source_tables_are_named_as_a_crawler_names_them" {
  command = plan
  variables { create_source_database = true }

  assert {
    condition     = aws_glue_catalog_table.source["queue"].name == "account_metadata_datamart_public_queue"
    error_message = "the job will not find its source tables"
  }
  assert {
    condition     = aws_glue_catalog_table.source["queue"].storage_descriptor[0].location == "prd.public.queue"
    error_message = "the location is not database.schema.table"
  }
}

run "own_jars_take_the_place_of_glues" {
  command = plan
  variables { extra_jars = ["s3://iceberg-logics-sandeep/artifacts/iceberg.jar"] }

  assert {
    condition     = !contains(keys(aws_glue_job.datamart.default_arguments), "--datalake-formats")
    error_message = "two Icebergs on one class path"
  }
}

run "without_a_schedule_nothing_starts_by_itself" {
  command = plan
  variables { schedule = null }

  assert {
    condition     = length(aws_glue_trigger.datamart) == 0
    error_message = "there is a trigger"
  }
}

run "glue_5_0_is_refused" {
  command = plan
  variables { glue_version = "5.0" }
  expect_failures = [var.glue_version]
}

run "a_password_in_the_address_is_refused" {
  command = plan
  variables { jdbc_url = "jdbc:postgresql://db.example.com/prd?password=secret" }
  expect_failures = [var.jdbc_url]
}

run "a_user_in_the_address_is_refused" {
  command = plan
  variables { jdbc_url = "jdbc:postgresql://reader@db.example.com/prd" }
  expect_failures = [var.jdbc_url]
}

run "all_secrets_at_once_are_refused" {
  command = plan
  variables { secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:*" }
  expect_failures = [var.secret_arn]
}

run "a_bucket_with_dots_is_refused" {
  command = plan
  variables { bucket_name = "iceberg.logics" }
  expect_failures = [var.bucket_name]
}

run "endpoints_without_route_tables_are_refused" {
  command = plan
  variables { vpc_endpoints = true }
  expect_failures = [var.vpc_endpoints]
}

run "jars_that_the_job_may_not_read_are_refused" {
  command = plan
  variables { extra_jars = ["s3://elsewhere/iceberg.jar"] }
  expect_failures = [var.extra_jars]
}

run "a_warehouse_where_the_job_may_not_write_is_refused" {
  command = plan
  variables { config_file = "tests/elsewhere.yaml" }
  expect_failures = [aws_s3_object.config]
}

run "a_schedule_that_is_no_cron_is_refused" {
  command = plan
  variables { schedule = "every hour" }
  expect_failures = [var.schedule]
}

run "staleness_of_two_days_is_refused" {
  command = plan
  variables { stale_after_hours = 48 }
  expect_failures = [var.stale_after_hours]
}

run "a_single_worker_is_refused" {
  command = plan
  variables { number_of_workers = 1 }
  expect_failures = [var.number_of_workers]
}

run "all_of_a_bucket_as_a_source_is_refused" {
  command = plan
  variables { source_folders = ["s3://landing/*"] }
  expect_failures = [var.source_folders]
}
