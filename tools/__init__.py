"""Programs for makers: benchmarks, exports, test sets. Nothing imports them."""
