# One deployment of verger on AWS, inside the European Union. `verger cloud up` runs this in a copy;
# by hand: terraform init && terraform apply -var name=orchard -var package_dir=PACKAGE

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

locals {
  tags = merge(var.tags, { project = "verger", deployment = var.name })

  # AWS's own policy for the EMR service allows only resources with this tag:
  # docs.aws.amazon.com/emr/latest/ManagementGuide/emr-iam-role.html
  emr_tag = { for-use-with-amazon-emr-managed-policies = "true" }

  on_emr        = var.engine == "emr"
  on_serverless = var.engine == "serverless"
  computes      = var.engine != "none"

  # emr-spark-8 reaches the EMR service through a separate endpoint, and has neither EMRFS nor JupyterHub:
  # docs.aws.amazon.com/emr/latest/ReleaseGuide (emr-spark-8.0.0, migration from EMR 7.x)
  is_spark_8 = startswith(var.release, "emr-spark-8")

  # The account id comes from the network, since a plan without credentials cannot request it.
  account = aws_vpc.main.owner_id
}
