"""The hop: take a request, validate it, publish one message with confirm, acknowledge."""
