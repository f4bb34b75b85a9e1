"""Whether the default training of small tables is one: beside other lengths and other models."""
