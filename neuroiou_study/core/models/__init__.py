"""Segmentation networks: images ``(B, 3, H, W)`` to logits ``(B, C, H, W)``, any H and W."""
