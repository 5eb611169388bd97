"""Names that help and errors about arguments need before PyTorch is imported; a test compares them with the
registries."""

BACKENDS = ("auto", "native", "triton", "torch")
PRECISIONS = ("auto", "float32", "bfloat16")
FILTERS = ("bicubic", "bilinear", "catmull-rom", "lanczos", "nearest")
MEASURES = ("intensity", "curvature")  # of an LR pixel, by which CMSR chooses its level
RULES = ("published", "pooled")  # by which init_cmsr.py chooses thresholds
