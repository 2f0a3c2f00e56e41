"""A function app that reads its events as ours does, and does nothing with them."""
