# What is asked for: the database to read, and the network it is in. All else has the names of the seed.

variable "jdbc_url" {
  description = "The PostgreSQL database that is read, such as jdbc:postgresql://db.example.com:5432/prd."
  type        = string

  validation {
    condition     = can(regex("^jdbc:postgresql://[^/@?]+/[^/?]+(\\?.*)?$", var.jdbc_url))
    error_message = "jdbc_url must look like jdbc:postgresql://HOST:PORT/DATABASE, without a user."
  }
  validation {
    condition     = !strcontains(lower(var.jdbc_url), "password")
    error_message = "jdbc_url must hold no password: put user and password into the secret secret_arn."
  }
}

variable "secret_arn" {
  description = "The Secrets Manager secret with the keys username and password of the role that reads."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+$", var.secret_arn))
    error_message = "secret_arn must be the full ARN of one secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX."
  }
}

variable "secret_kms_key_arn" {
  description = "The KMS key of the secret, where it is not Secrets Manager's own."
  type        = string
  default     = null

  validation {
    condition     = var.secret_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:.+:key/.+$", var.secret_kms_key_arn))
    error_message = "secret_kms_key_arn must be the ARN of a key (not of an alias): arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "network" {
  description = <<-EOT
    Where the job runs: a subnet from which the database can be reached, and its availability zone. Where
    database_security_group_id is given, the job is let in there. route_table_ids are for the S3 endpoint.
  EOT
  type = object({
    vpc_id                     = string
    subnet_id                  = string
    availability_zone          = string
    database_security_group_id = optional(string)
    route_table_ids            = optional(list(string), [])
  })

  validation {
    condition     = startswith(var.network.vpc_id, "vpc-") && startswith(var.network.subnet_id, "subnet-")
    error_message = "network.vpc_id must begin with vpc-, network.subnet_id with subnet-."
  }
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", var.network.availability_zone))
    error_message = "network.availability_zone must be the subnet's, such as eu-central-1a."
  }
}

variable "vpc_endpoints" {
  description = "Make endpoints for S3, Glue, Secrets Manager, CloudWatch, KMS and STS: for subnets without a NAT gateway."
  type        = bool
  default     = false

  validation {
    condition     = !var.vpc_endpoints || length(var.network.route_table_ids) > 0
    error_message = "vpc_endpoints needs network.route_table_ids: the route tables that lead to S3."
  }
}

variable "name" {
  description = "Name of the job, and beginning of the names of all that belongs to it."
  type        = string
  default     = "iceberg-datamart"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,40}$", var.name))
    error_message = "name must begin with a letter and hold 2 to 41 characters: a to z, 0 to 9 and -."
  }
}

variable "bucket_name" {
  description = "The bucket of tables, state, artifacts and query results."
  type        = string
  default     = "iceberg-logics-sandeep"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name must hold 3 to 63 characters: a to z, 0 to 9 and -; no dots, which TLS does not go with."
  }
}

variable "create_bucket" {
  description = "Make the bucket. With false it must exist, and its own settings are left alone."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "An existing KMS key for everything; null makes one. An existing bucket's own key belongs here."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:.+:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (not of an alias): arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "database_name" {
  description = "Glue database of the source tables; mirrors and marts go to the one named so with _iceberg."
  type        = string
  default     = "account_metadata_datamart"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,246}$", var.database_name))
    error_message = "database_name must hold a to z, 0 to 9 and _, as Glue and Athena have it."
  }
}

variable "create_source_database" {
  description = "Make the Glue database of the source tables, and an entry for each. With false a crawler has made them."
  type        = bool
  default     = false
}

variable "source_folders" {
  description = "Folders of files on S3 that tables of the source database describe: the job may read them."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for folder in var.source_folders : can(regex("^s3://[a-z0-9][a-z0-9.-]+/[^*?]+/$", folder))])
    error_message = "source_folders must look like s3://BUCKET/FOLDER/, with a slash at the end and no wildcard."
  }
}

variable "tables" {
  description = "The source tables: which entries are made, and which mirrors are watched for lag."
  type        = list(string)
  default     = ["account", "account_metadata", "account_risk", "adjustment", "queue", "settlement_transaction"]

  validation {
    condition     = length(var.tables) > 0 && alltrue([for table in var.tables : can(regex("^[a-z_][a-z0-9_]*$", table))])
    error_message = "tables must name at least one table, in a to z, 0 to 9 and _."
  }
}

variable "tags" {
  description = "More tags for everything."
  type        = map(string)
  default     = {}
}
