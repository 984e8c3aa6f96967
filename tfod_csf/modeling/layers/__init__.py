"""Keras layers of this network that Keras does not have."""
