"""Clusters of hosts on this machine, and the files that start them."""
