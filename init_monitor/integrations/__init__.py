"""Adapters of other training frameworks, one module each. Each imports its framework; nothing else imports them."""
