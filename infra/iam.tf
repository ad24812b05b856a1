# What the job may do. Every statement is explained in docs/iam.md; tests compare the two.

locals {
  logs_arn    = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws-glue/jobs"
  catalog_arn = "arn:${local.partition}:glue:${local.region}:${local.account}:catalog"
  glue_arn    = "arn:${local.partition}:glue:${local.region}:${local.account}"
  ec2_arn     = "arn:${local.partition}:ec2:${local.region}:${local.account}"
  # BUCKET/FOLDER/ of each.
  source_places = [for folder in var.source_folders : trimprefix(folder, "s3://")]
}

data "aws_iam_policy_document" "glue_assumes" {
  statement {
    sid     = "GlueOfThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["glue.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "job" {
  name               = "${var.name}-job"
  description        = "The Glue job ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.glue_assumes.json
}

resource "aws_iam_role_policy" "job" {
  name   = "job"
  role   = aws_iam_role.job.id
  policy = data.aws_iam_policy_document.job.json
}

data "aws_iam_policy_document" "job" {
  source_policy_documents = [
    data.aws_iam_policy_document.job_storage.json,
    data.aws_iam_policy_document.job_catalog.json,
    data.aws_iam_policy_document.job_runtime.json,
  ]
}

data "aws_iam_policy_document" "job_storage" {
  # Without it S3 answers 403, not 404, for a timestamp file that is not there:
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "BucketList"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid = "TableFiles"
    actions = [
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject",
    ]
    resources = ["${local.bucket_arn}/${local.warehouse}/*"]
  }

  statement {
    sid       = "StateFiles"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.state}*"]
  }

  statement {
    sid       = "OldRunRecords"
    actions   = ["s3:DeleteObject"]
    resources = ["${local.bucket_arn}/${local.state}runs/*"]
  }

  statement {
    sid       = "Artifacts"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${local.artifacts}*"]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.key_arn]
  }
}

data "aws_iam_policy_document" "job_catalog" {
  statement {
    sid     = "MirrorsAndMarts"
    actions = ["glue:CreateTable", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"]
    resources = [
      local.catalog_arn,
      "${local.glue_arn}:database/${local.iceberg_database}",
      "${local.glue_arn}:table/${local.iceberg_database}/*",
    ]
  }

  statement {
    sid     = "SourceTables"
    actions = concat(["glue:GetTable"], length(local.source_places) == 0 ? [] : ["glue:GetPartitions"])
    resources = [
      local.catalog_arn,
      "${local.glue_arn}:database/${var.database_name}",
      "${local.glue_arn}:table/${var.database_name}/*",
    ]
  }

  dynamic "statement" {
    for_each = length(local.source_places) == 0 ? {} : {
      SourceBuckets = {
        action = "s3:ListBucket"
        places = distinct([for place in local.source_places : split("/", place)[0]])
      }
      SourceFiles = { action = "s3:GetObject", places = [for place in local.source_places : "${place}*"] }
    }
    content {
      sid       = statement.key
      actions   = [statement.value.action]
      resources = [for place in statement.value.places : "arn:${local.partition}:s3:::${place}"]
    }
  }

  statement {
    sid       = "SourceConnection"
    actions   = ["glue:GetConnection"]
    resources = [local.catalog_arn, "${local.glue_arn}:connection/${local.connection}"]
  }

  statement {
    sid       = "SourceSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.secret_arn]
  }

  dynamic "statement" {
    for_each = var.secret_kms_key_arn == null ? [] : [var.secret_kms_key_arn]
    content {
      sid       = "SecretKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.amazonaws.com"]
      }
    }
  }
}

data "aws_iam_policy_document" "job_runtime" {
  statement {
    sid       = "Logs"
    actions   = ["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.logs_arn}/*"]
  }

  # CloudWatch has no resource for it; the condition names the one namespace.
  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [local.metrics]
    }
  }

  statement {
    sid     = "NetworkInterfaceCreate"
    actions = ["ec2:CreateNetworkInterface"]
    resources = [
      "${local.ec2_arn}:network-interface/*",
      "${local.ec2_arn}:subnet/${var.network.subnet_id}",
      aws_security_group.job.arn,
    ]
  }

  statement {
    sid       = "NetworkInterfaceTags"
    actions   = ["ec2:CreateTags", "ec2:DeleteTags"]
    resources = ["${local.ec2_arn}:network-interface/*"]
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "aws:TagKeys"
      values   = ["aws-glue-service-resource"]
    }
  }

  statement {
    sid       = "NetworkInterfaceDelete"
    actions   = ["ec2:DeleteNetworkInterface"]
    resources = ["${local.ec2_arn}:network-interface/*"]
  }

  # EC2 describes all or nothing: it knows no resources for these.
  statement {
    sid = "NetworkLook"
    actions = [
      "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets", "ec2:DescribeVpcAttribute", "ec2:DescribeVpcEndpoints",
    ]
    resources = ["*"]
  }
}
