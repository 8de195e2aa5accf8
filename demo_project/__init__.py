"""A small chat that shows what django_hub is for."""
