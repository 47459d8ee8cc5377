"""The script that ``app.server`` serves."""

from app.frame import draw

draw()
