"""Every conversion between pixels and positions: grids, neighbours, homographies."""
