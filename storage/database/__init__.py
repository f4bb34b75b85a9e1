"""The database: connections, schema, retries and dialects."""
