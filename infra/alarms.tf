# Who is told when a run fails, a table fails, a mirror is old, or nothing runs at all.

locals {
  metrics = "IcebergDatamart"
  hour    = 3600
}

resource "aws_sns_topic" "notices" {
  name              = "${var.name}-notices"
  kms_master_key_id = local.key_arn
}

resource "aws_sns_topic_policy" "notices" {
  arn    = aws_sns_topic.notices.arn
  policy = data.aws_iam_policy_document.notices.json
}

data "aws_iam_policy_document" "notices" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
  statement {
    sid       = "Rules"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic_subscription" "mail" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.notices.arn
  protocol  = "email"
  endpoint  = each.key
}

# https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html
resource "aws_cloudwatch_event_rule" "failed_run" {
  name        = "${var.name}-failed-run"
  description = "A run of ${var.name} failed, was stopped, or took too long"
  event_pattern = jsonencode({
    source      = ["aws.glue"]
    detail-type = ["Glue Job State Change"]
    detail      = { jobName = local.job_names, state = ["FAILED", "TIMEOUT", "STOPPED"] }
  })
}

resource "aws_cloudwatch_event_target" "failed_run" {
  rule = aws_cloudwatch_event_rule.failed_run.name
  arn  = aws_sns_topic.notices.arn

  input_transformer {
    input_paths = {
      job     = "$.detail.jobName"
      message = "$.detail.message"
      run     = "$.detail.jobRunId"
      state   = "$.detail.state"
    }
    input_template = "\"Glue job <job>, run <run>: <state>. <message>\""
  }
}

resource "aws_cloudwatch_metric_alarm" "failed_tables" {
  alarm_name          = "${var.name}-failed-tables"
  alarm_description   = "A run could not merge a table or mart; its own state is as before, the others went on. See the run's report in the job's log."
  namespace           = local.metrics
  metric_name         = "FailedTables"
  dimensions          = { Database = local.iceberg_database }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  # Between two runs there is no value; whether any comes is the next alarm's business.
  treat_missing_data = "notBreaching"
  alarm_actions      = [aws_sns_topic.notices.arn]
  ok_actions         = [aws_sns_topic.notices.arn]
}

resource "aws_cloudwatch_metric_alarm" "no_run" {
  alarm_name          = "${var.name}-no-run"
  alarm_description   = "No run of ${var.name} ended within ${var.stale_after_hours} hours. Is its trigger on, and did the last run begin?"
  namespace           = local.metrics
  metric_name         = "RunSeconds"
  dimensions          = { Database = local.iceberg_database }
  statistic           = "SampleCount"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = local.hour
  evaluation_periods  = var.stale_after_hours
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.notices.arn]
  ok_actions          = [aws_sns_topic.notices.arn]
}

resource "aws_cloudwatch_metric_alarm" "stale" {
  for_each            = toset(var.tables)
  alarm_name          = "${var.name}-stale-${each.key}"
  alarm_description   = "${each.key} is complete only up to more than ${var.stale_after_hours} hours ago: see iceberg-datamart status."
  namespace           = local.metrics
  metric_name         = "LagSeconds"
  dimensions          = { Database = local.iceberg_database, Table = each.key }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.stale_after_hours * local.hour
  period              = local.hour
  evaluation_periods  = 1
  # A mirror does not become fresh because nobody looks.
  treat_missing_data = "ignore"
  alarm_actions      = [aws_sns_topic.notices.arn]
  ok_actions         = [aws_sns_topic.notices.arn]
}
