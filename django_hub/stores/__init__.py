"""Stores: the contract in `base`, its values in `ops`, and those who keep it."""
