"""The queue of work: one table in SQLite."""
