"""The 74 rows of docs/RELIABILITY.md, each over real sockets against the real server process."""
