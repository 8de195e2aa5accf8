"""Channels' layers, as hubs use them."""
