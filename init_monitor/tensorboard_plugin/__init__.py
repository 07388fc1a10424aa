"""The "Init Monitor" tab of TensorBoard: a backend that reads event files, and the page in ``static/``."""
