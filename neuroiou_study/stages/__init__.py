"""The five stages, the store they meet in, and the seam to the machines; runs on a laptop without Ray."""
