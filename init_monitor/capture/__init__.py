"""Capture: hooks on a sampled step's tensors, accumulated on the device, drained once as a frozen record."""
