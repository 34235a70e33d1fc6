"""Importing this module registers every recipe that ships."""

from erlangen.recipes import rotnet, vicreg

SHIPPED = (rotnet, vicreg)
