"""Style: the palette, the canvas and the legend of every figure."""
