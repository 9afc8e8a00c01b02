"""Sites: what crosses a link to another server, and what is known of the other side."""
