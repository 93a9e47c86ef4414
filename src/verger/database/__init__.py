"""The service's database: observations, feedback, keys and facts in SQLite or PostgreSQL."""
