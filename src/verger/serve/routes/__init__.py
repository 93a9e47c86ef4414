"""The URLs of the service, one module for each group."""
