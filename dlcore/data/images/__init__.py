"""Images: image folders, and the digits of scikit-learn."""
