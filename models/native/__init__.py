"""Native routines: plain arrays in and out. Nothing here imports PyTorch by itself: `compiling` is used without it."""
