"""What the parent and its child say to each other. Fixed numbers only: no text of a child's reaches a person."""

from enum import IntEnum
from struct import Struct

REQUEST = Struct(">III")  # bytes of the file that follows; width and height it must have, or 0 and 0
ANSWER = Struct(">BII")  # a `Word`; width and height of the RGB pixels that follow, row by row
HELLO_LOCKED = b"\x01"  # what a child says first: all doors are closed
HELLO_OPEN = b"\x02"  # it has its limits, and this kernel knows no filter of system calls


class Word(IntEnum):
    """How a file was read. Everything but `PIXELS` is a refusal."""

    PIXELS = 0
    NO_PICTURE = 1
    DAMAGED = 2
    TOO_SMALL = 3
    TOO_LARGE = 4
    MOVING = 5
    TOO_HEAVY = 6
    OTHER_SIZE = 7
