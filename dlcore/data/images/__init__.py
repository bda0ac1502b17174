"""Images: files of own images in folders, and the digits of scikit-learn."""
