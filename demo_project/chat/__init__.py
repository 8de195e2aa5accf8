"""The chat: one consumer for the sockets, one for the events, two pages."""
