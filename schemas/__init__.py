"""Nouns of the product: events, log records, tables, identifiers of things, error codes.

What a thing *is* stands here, once; what happens to it stands in the other packages. Nothing here does I/O.
"""
