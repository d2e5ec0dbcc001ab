"""HTTP: the collector takes events in, the query API gives profiles out.

Invariant: only this package knows HTTP; what it takes goes to the log, what it gives comes from the store.
"""
