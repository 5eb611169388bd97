"""A picture to a picture, one way for demo.py, the page, films and torch.hub."""
