"""Migrations of the database, run by alembic: one module in `versions` for each change of the tables."""
