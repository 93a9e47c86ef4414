"""Code that all clouds share: the provider protocol, specs, the package for nodes, Terraform, downloads."""
