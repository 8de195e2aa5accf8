from django.apps import AppConfig


class BoardConfig(AppConfig):
    name = "demo_project.board"
    label = "board"
