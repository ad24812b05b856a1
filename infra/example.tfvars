# Copy to terraform.tfvars and put your own values in. Everything else has a default: see variables.tf and
# job_variables.tf.

jdbc_url   = "jdbc:postgresql://db.example.com:5432/account_metadata_datamart"
secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:iceberg-datamart/reader-AbCdEf"

network = {
  vpc_id                     = "vpc-0a1b2c3d4e5f60718"
  subnet_id                  = "subnet-0a1b2c3d4e5f60718"
  availability_zone          = "eu-central-1a"
  database_security_group_id = "sg-0a1b2c3d4e5f60718"
}

# Names of buckets are taken world-wide.
bucket_name = "iceberg-logics-sandeep"

# false where a crawler has already made the database account_metadata_datamart and its tables.
create_source_database = true

alarm_emails = ["on-call@example.com"]
