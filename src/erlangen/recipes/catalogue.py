"""Importing this module registers every recipe that ships."""

SHIPPED: tuple[object, ...] = ()
