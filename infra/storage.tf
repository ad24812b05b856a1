# One bucket: tables under datamart/, the timestamp file under state/, the job under artifacts/, and what
# Athena answers under athena-results/.

locals {
  key_arn         = var.kms_key_arn == null ? aws_kms_key.lake[0].arn : var.kms_key_arn
  bucket          = var.create_bucket ? aws_s3_bucket.lake[0].bucket : var.bucket_name
  bucket_arn      = "arn:${local.partition}:s3:::${var.bucket_name}"
  warehouse       = "datamart/${var.database_name}"
  state           = "state/"
  artifacts       = "artifacts/"
  results         = "athena-results/"
  timestamp_file  = "s3://${var.bucket_name}/${local.state}last_load_timestamp.csv"
  warehouse_place = "s3://${var.bucket_name}/${local.warehouse}"
}

resource "aws_s3_bucket" "lake" {
  count  = var.create_bucket ? 1 : 0
  bucket = var.bucket_name
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.lake[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  count                   = var.create_bucket ? 1 : 0
  bucket                  = aws_s3_bucket.lake[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# An overwritten timestamp file, or a metadata file that was deleted by mistake, can be had back.
resource "aws_s3_bucket_versioning" "lake" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.lake[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.lake[0].id
  rule {
    # Without a bucket key every object that is read costs a call to KMS.
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = local.key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  count      = var.create_bucket ? 1 : 0
  bucket     = aws_s3_bucket.lake[0].id
  depends_on = [aws_s3_bucket_versioning.lake]

  rule {
    id     = "overwritten-objects"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.kept_days.overwritten
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  rule {
    id     = "broken-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # Only here: an age says nothing of whether a table still needs a file.
  rule {
    id     = "query-results"
    status = "Enabled"
    filter {
      prefix = local.results
    }
    expiration {
      days = var.kept_days.results
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "lake" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.lake[0].id
  policy = data.aws_iam_policy_document.bucket.json
  # Two changes of one bucket's access at once: S3 answers OperationAborted.
  depends_on = [aws_s3_bucket_public_access_block.lake]
}
