"""What the operating system and libraries give every room: retry, sockets, logs, message IDs."""
