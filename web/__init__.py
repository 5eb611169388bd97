"""The page of app.py: a server that keeps pictures encoded, and what the browser runs."""
