"""Technical helpers that every room may use: retry, sockets, logs, message IDs."""
