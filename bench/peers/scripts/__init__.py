"""What runs in the peers' own environments: the standard library, the peer, and nothing of ours."""
