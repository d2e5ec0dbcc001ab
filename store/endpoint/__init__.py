"""chDB in a process of its own, behind ClickHouse's HTTP interface, so that clickhouse-connect cannot tell.

    python -m store.endpoint --path DIR --port N --token-file F

`statement` reads SQL just far enough, `encoding` packs and unpacks bodies, `forms` takes multipart uploads
apart, `request` says what is asked, `engine` runs it, `app` is the HTTP side, `owner` keeps a second process
off the path.

Invariant: one fresh engine connection per request. After a failed query chDB puts the partial rows of that
query in front of the next result of the same connection; with a fresh one nobody can ever read another's
rows.
"""
