"""Sockets of the control plane. Knows nothing of triggers."""
