"""Adapters to other libraries, one module each: imported by their users only, never from within."""
