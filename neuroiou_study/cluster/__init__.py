"""Clusters: from one small file to a provider's own, checked before a machine is rented, and what runs on the nodes."""
