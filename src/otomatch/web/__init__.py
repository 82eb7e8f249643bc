"""Web server for a `SoundLibrary`: a JSON API and the search page.

`app.create_app` makes the application and `serving.serve` runs it. No other room imports this one,
except the command line, and the web framework is imported nowhere else.
"""
