"""A program that gets Ctrl-C where Python 3.11 makes an error of its own of it: while a class is made."""

import os
import signal


class Attribute:
    """Tells its name to nobody."""

    def __set_name__(self, owner: type, name: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class Owner:
    """Is never made."""

    attribute = Attribute()
