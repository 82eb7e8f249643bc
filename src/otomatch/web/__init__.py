"""The server behind ``otomatch serve``: a JSON API over a `SoundLibrary`, and the search page.

``app.create_app`` makes the application, ``serving.serve`` runs it. Nothing here is imported by the
rest of the package, and the web framework is imported nowhere else.
"""
