"""Backbones, split in two where Faster R-CNN crops its proposals."""
