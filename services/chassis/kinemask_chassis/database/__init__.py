"""PostgreSQL for services that keep something: a server by URL, or one embedded in the data folder.

Needs `kinemask-chassis[database]`; nothing else of the chassis imports this package.
"""

from kinemask_chassis.database.database import Connection, Database

__all__ = ["Connection", "Database"]
