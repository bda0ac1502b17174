"""Files of weights: locations, the hub, safetensors, `.npz` and pickles.

Files from elsewhere are data: nothing in them is executed, and sizes and names
are checked before anything is allocated.
"""
