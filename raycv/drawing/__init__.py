"""The parts of figures: page style, rows of pictures, portraits of units."""
