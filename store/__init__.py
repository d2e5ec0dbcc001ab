"""The store: ClickHouse, or chDB behind an endpoint that speaks ClickHouse's HTTP interface.

`client` is how the job, the API and the command line talk to either; `migrate` brings the tables to the form
of `schemas/migrations`; `keyring` holds the secrets that never enter the store; `endpoint` is the embedded
engine and can be taken away where a ClickHouse server stands.
"""
