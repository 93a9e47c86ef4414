"""Deployments on any cloud: the provider protocol, specs, the package for the nodes, Terraform and downloads."""
