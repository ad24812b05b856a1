# Who may speak with whom: the job with itself, PostgreSQL, and AWS.

resource "aws_security_group" "job" {
  name        = "${var.name}-job"
  description = "Workers of the Glue job ${var.name}"
  vpc_id      = var.network.vpc_id
  tags        = { Name = "${var.name}-job" }
}

# Glue refuses a connection whose workers cannot reach each other on all ports:
# https://docs.aws.amazon.com/glue/latest/dg/setup-vpc-for-glue-access.html
resource "aws_vpc_security_group_ingress_rule" "workers" {
  security_group_id            = aws_security_group.job.id
  description                  = "Workers among themselves"
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = 0
  to_port                      = 65535
}

resource "aws_vpc_security_group_egress_rule" "workers" {
  security_group_id            = aws_security_group.job.id
  description                  = "Workers among themselves"
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = 0
  to_port                      = 65535
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.job.id
  description                  = "PostgreSQL"
  referenced_security_group_id = var.network.database_security_group_id
  cidr_ipv4                    = var.network.database_security_group_id == null ? "0.0.0.0/0" : null
  ip_protocol                  = "tcp"
  from_port                    = local.source_port
  to_port                      = local.source_port
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.job.id
  description       = "AWS by TLS; the addresses of its services change"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count                        = var.network.database_security_group_id == null ? 0 : 1
  security_group_id            = var.network.database_security_group_id
  description                  = "The Glue job ${var.name}"
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = local.source_port
  to_port                      = local.source_port
}

locals {
  interface_endpoints = toset(var.vpc_endpoints ? ["glue", "kms", "logs", "monitoring", "secretsmanager", "sts"] : [])
}

resource "aws_vpc_endpoint" "s3" {
  count             = var.vpc_endpoints ? 1 : 0
  vpc_id            = var.network.vpc_id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.network.route_table_ids
  tags              = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interface_endpoints
  vpc_id              = var.network.vpc_id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = [var.network.subnet_id]
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
  tags                = { Name = "${var.name}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  count       = var.vpc_endpoints ? 1 : 0
  name        = "${var.name}-endpoints"
  description = "AWS endpoints for the Glue job ${var.name}"
  vpc_id      = var.network.vpc_id
  tags        = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count                        = var.vpc_endpoints ? 1 : 0
  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "The Glue job"
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}
