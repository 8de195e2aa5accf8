"""Wires: how frames get onto one client's socket."""
