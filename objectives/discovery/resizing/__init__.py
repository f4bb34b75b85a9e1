"""A discovered model built anew at other sizes: by its constructor first, by surgery second."""
