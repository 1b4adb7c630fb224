"""The database: tables, sessions, upgrades."""
