"""The store on SQLite and PostgreSQL: one implementation, by SQLAlchemy Core."""
