"""Settings of a small ViT that other libraries have, too."""

FIELDS = {
  "patch_size": 4,
  "width": 8,
  "depth": 2,
  "num_heads": 2,
  "mlp_dim": 12,
  "activation": "gelu_exact",
  "pool": "class",
}
