"""A chat and a shared board that show what django_hub is for."""
