"""Rules of thumb for widths: each with its formula, its source, and what it says of given sizes."""
