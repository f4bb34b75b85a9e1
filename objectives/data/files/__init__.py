"""Files: bytes become a table of text columns, or arrays."""
