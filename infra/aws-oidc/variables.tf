variable "name" {
  description = "The deployment to update: the name given to infra/aws."
  type        = string
  default     = "verger"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,29}$", var.name))
    error_message = "A name has 2 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "Where the deployment is: a region in the European Union."
  type        = string
  default     = "eu-west-3"

  # A prefix would let London (eu-west-2) and Zurich (eu-central-2) pass. src/verger/cloud/regions.py has the same list.
  validation {
    condition = contains(
      ["eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3"], var.region
    )
    error_message = "This region is not in the European Union. Allowed: eu-central-1, eu-north-1, eu-south-1, eu-south-2, eu-west-1, eu-west-3."
  }
}

variable "repository" {
  description = "OWNER/NAME on GitHub: the only repository that is trusted."
  type        = string

  # A * would trust other repositories.
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "A repository is OWNER/NAME, one, without a pattern."
  }
}

variable "environment" {
  description = "The environment of that repository whose rules define the tags that may deploy, and the reviewers."
  type        = string
  default     = "deploy"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.environment))
    error_message = "An environment is one name, without a pattern."
  }
}

variable "bucket" {
  description = "The bucket of the deployment: an output of infra/aws."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts it: an output of infra/aws."
  type        = string
}
