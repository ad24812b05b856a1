# What an analyst may do: query mirrors and marts in the workgroup. Attach the policy to their role.

resource "aws_iam_policy" "reader" {
  name        = "${var.name}-reader"
  description = "Queries of ${local.iceberg_database} in the Athena workgroup ${var.name}"
  policy      = data.aws_iam_policy_document.reader.json
}

data "aws_iam_policy_document" "reader" {
  statement {
    sid = "Queries"
    actions = [
      "athena:BatchGetNamedQuery", "athena:BatchGetQueryExecution", "athena:GetNamedQuery",
      "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetQueryResultsStream", "athena:GetWorkGroup",
      "athena:ListNamedQueries", "athena:ListQueryExecutions", "athena:StartQueryExecution",
      "athena:StopQueryExecution",
    ]
    resources = [aws_athena_workgroup.readers.arn]
  }

  statement {
    sid       = "QueryCatalog"
    actions   = ["athena:GetDataCatalog", "athena:ListDatabases", "athena:ListTableMetadata"]
    resources = ["arn:${local.partition}:athena:${local.region}:${local.account}:datacatalog/AwsDataCatalog"]
  }

  statement {
    sid     = "ReadCatalog"
    actions = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables"]
    resources = [
      local.catalog_arn,
      "${local.glue_arn}:database/${local.iceberg_database}",
      "${local.glue_arn}:table/${local.iceberg_database}/*",
    ]
  }

  statement {
    sid       = "ReadBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "ReadTableFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${local.warehouse}/*"]
  }

  statement {
    sid       = "QueryResults"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.results}*"]
  }

  statement {
    sid       = "ReadKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
  }
}
