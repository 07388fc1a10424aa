"""Kernels in Triton. Importing this package does not import Triton; its modules do."""
