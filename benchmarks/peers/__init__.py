"""Other ways from a caption to a picture, raced against ours on equal wall-clock: see `text_to_image_vs_peers.py`."""
