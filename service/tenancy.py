"""Tenants: who owns what, and how much of the workers they may hold at once."""

from sqlalchemy import Connection, select

from service.database import Database
from service.identifiers import new_id
from service.tables import tenants

LOCAL = "local"
"""The tenant of a service that runs without keys on a loopback address."""


def ensure_tenant(database: Database, connection: Connection, name: str) -> str:
    """Return the id of the tenant of that name, made where there is none."""
    connection.execute(
        database.insert(tenants)
        .values(id=new_id("t"), name=name, created=database.now)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    return str(connection.execute(select(tenants.c.id).where(tenants.c.name == name)).scalar_one())
