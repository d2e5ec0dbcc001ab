"""HTTP/1.1 with URLs of any length: SQL travels in the URL when external data fills the body."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class LongUrlProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose URL parser stops at 64 KiB; here it sees the path alone."""

    def on_headers_complete(self) -> None:
        """Called by the parser; the application runs later, when the scope is complete."""
        self.url, _, query_string = self.url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query_string
