# How the job runs, and how it is watched and read.

variable "glue_version" {
  description = "The runtime: 4.0 (Spark 3.3, Iceberg 1.0) or 5.1 (Spark 3.5, Iceberg 1.10)."
  type        = string
  default     = "4.0"

  validation {
    condition     = contains(["4.0", "5.1"], var.glue_version)
    error_message = "glue_version must be 4.0 or 5.1: the two runtimes that the job is tested on."
  }
}

variable "extra_jars" {
  description = "Your own Iceberg, as s3:// addresses of jars in the bucket's artifacts/; empty takes Glue's."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for jar in var.extra_jars : startswith(jar, "s3://${var.bucket_name}/artifacts/") && endswith(jar, ".jar")])
    error_message = "extra_jars must lie where the job may read: s3://BUCKET/artifacts/NAME.jar."
  }
}

variable "config_file" {
  description = "A configuration that is laid over the shipped one; null needs none but for the bucket's name."
  type        = string
  default     = null

  validation {
    condition     = var.config_file == null || can(yamldecode(file(var.config_file)))
    error_message = "config_file must be a YAML file that can be read."
  }
}

variable "worker_type" {
  description = "Size of a worker."
  type        = string
  default     = "G.1X"

  validation {
    condition     = contains(["G.1X", "G.2X", "G.4X", "G.8X"], var.worker_type)
    error_message = "worker_type must be G.1X, G.2X, G.4X or G.8X."
  }
}

variable "number_of_workers" {
  description = "Workers of a run; one of them is the driver."
  type        = number
  default     = 2

  validation {
    condition     = var.number_of_workers >= 2 && floor(var.number_of_workers) == var.number_of_workers
    error_message = "number_of_workers must be a whole number, 2 or more."
  }
}

variable "timeout_minutes" {
  description = "After so many minutes Glue ends a run; the next one makes good what it left."
  type        = number
  default     = 120

  validation {
    condition     = var.timeout_minutes >= 1 && var.timeout_minutes <= 2880
    error_message = "timeout_minutes must be between 1 and 2880."
  }
}

variable "max_retries" {
  description = "How often Glue starts a failed run again. A rerun changes nothing that is right."
  type        = number
  default     = 1

  validation {
    condition     = var.max_retries >= 0 && var.max_retries <= 10
    error_message = "max_retries must be between 0 and 10."
  }
}

variable "schedule" {
  description = "When the job runs, as cron(...) in UTC; null never starts it by itself."
  type        = string
  default     = "cron(5 * * * ? *)"

  validation {
    condition     = var.schedule == null || can(regex("^cron\\(([^ ]+ ){5}[^ ]+\\)$", var.schedule))
    error_message = "schedule must be cron(MINUTES HOURS DAY MONTH WEEKDAY YEAR), such as cron(5 * * * ? *)."
  }
}

variable "maintenance_script" {
  description = "Path of a script that compacts and expires, such as ../jobs/maintenance_job.py; null makes no such job."
  type        = string
  default     = null

  validation {
    condition     = var.maintenance_script == null || can(filemd5(var.maintenance_script))
    error_message = "maintenance_script must be a file that can be read."
  }
}

variable "maintenance_schedule" {
  description = "When the maintenance job runs, as cron(...) in UTC."
  type        = string
  default     = "cron(35 3 * * ? *)"

  validation {
    condition     = can(regex("^cron\\(([^ ]+ ){5}[^ ]+\\)$", var.maintenance_schedule))
    error_message = "maintenance_schedule must be cron(MINUTES HOURS DAY MONTH WEEKDAY YEAR)."
  }
}

variable "stale_after_hours" {
  description = "Alarm where no run ended, or a mirror is older than this."
  type        = number
  default     = 3

  validation {
    condition     = var.stale_after_hours >= 1 && var.stale_after_hours <= 24 && floor(var.stale_after_hours) == var.stale_after_hours
    error_message = "stale_after_hours must be a whole number between 1 and 24: CloudWatch looks back a day at most."
  }
}

variable "alarm_emails" {
  description = "Who is written to; each address gets a mail that asks to confirm."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_emails must be mail addresses."
  }
}

variable "scan_limit_gb" {
  description = "Athena ends a query of the workgroup that reads more than so many gigabytes."
  type        = number
  default     = 100

  validation {
    condition     = var.scan_limit_gb >= 1
    error_message = "scan_limit_gb must be 1 or more."
  }
}

variable "kept_days" {
  description = "Days after which overwritten objects and query results are gone."
  type        = object({ overwritten = optional(number, 30), results = optional(number, 14) })
  default     = {}

  validation {
    condition     = var.kept_days.overwritten >= 1 && var.kept_days.results >= 1
    error_message = "kept_days.overwritten and kept_days.results must be 1 or more."
  }
}

variable "lake_formation" {
  description = "Register the tables' folder with Lake Formation, and grant the job and the readers what they need."
  type        = bool
  default     = false
}

variable "reader_arns" {
  description = "IAM roles of analysts: with lake_formation they are granted SELECT on all mirrors and marts."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.reader_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "reader_arns must be ARNs of IAM roles or users."
  }
}
