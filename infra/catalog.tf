# The Glue databases, and the way to PostgreSQL.

locals {
  iceberg_database = "${var.database_name}_iceberg"
  # jdbc:postgresql://HOST[:PORT]/DATABASE[?OPTIONS]
  source_address  = regex("^jdbc:postgresql://(?P<host>[^/:?]+)(?::(?P<port>[0-9]+))?/(?P<database>[^/?]+)", var.jdbc_url)
  source_port     = coalesce(local.source_address.port, "5432")
  connection      = "${var.name}-source"
  source_prefix   = "account_metadata_datamart_public_"
  source_database = var.create_source_database ? aws_glue_catalog_database.source[0].name : var.database_name
}

# The job finds it there and so needs no leave to create databases. Its tables lie under the location, which must
# not end in a slash: Iceberg 1.0 would write s3://…//table.
resource "aws_glue_catalog_database" "iceberg" {
  name         = local.iceberg_database
  description  = "Mirrors and marts of ${var.database_name}, written by ${var.name}"
  location_uri = local.warehouse_place
}

resource "aws_glue_catalog_database" "source" {
  count       = var.create_source_database ? 1 : 0
  name        = var.database_name
  description = "Tables of PostgreSQL that ${var.name} reads"
}

# What a crawler would write. Columns are read from PostgreSQL itself.
resource "aws_glue_catalog_table" "source" {
  for_each      = var.create_source_database ? toset(var.tables) : []
  database_name = aws_glue_catalog_database.source[0].name
  name          = "${local.source_prefix}${each.key}"
  table_type    = "EXTERNAL_TABLE"

  parameters = {
    classification = "postgresql"
    connectionName = aws_glue_connection.source.name
    typeOfData     = "table"
  }
  storage_descriptor {
    location = "${local.source_address.database}.public.${each.key}"
  }
}

resource "aws_glue_connection" "source" {
  name            = local.connection
  description     = "PostgreSQL that ${var.name} reads; user and password are in the secret"
  connection_type = "JDBC"

  connection_properties = {
    JDBC_CONNECTION_URL = var.jdbc_url
    JDBC_ENFORCE_SSL    = "true"
    SECRET_ID           = var.secret_arn
  }
  physical_connection_requirements {
    availability_zone      = var.network.availability_zone
    security_group_id_list = [aws_security_group.job.id]
    subnet_id              = var.network.subnet_id
  }
}
