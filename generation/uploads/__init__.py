"""Strangers' files: bytes in, clean pixels out. Knows no rows, no store and no Django.

The limited child imports this package too, so that nothing may be imported here.
"""
