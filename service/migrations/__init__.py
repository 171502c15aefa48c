"""Alembic migrations, in order; ``service.database.HEAD`` names the last."""
