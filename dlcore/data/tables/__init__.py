"""Tables: CSV files, and the tables of scikit-learn."""
