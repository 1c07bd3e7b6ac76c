"""What a requester imports: ops, graphs, sessions."""
