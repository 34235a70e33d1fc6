"""Importing this module registers every recipe that ships."""

from erlangen.recipes import frame_averaging, rotnet, vicreg

SHIPPED: tuple[object, ...] = (frame_averaging, rotnet, vicreg)
