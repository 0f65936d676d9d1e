"""Processes that end with the one they work for."""

import multiprocessing.connection
import os
import threading


def end_once_closed(handle: int) -> None:
    """End this process, from a thread, once the other end of a pipe is closed, as it is when its holder dies.

    Who is killed cannot end those who work for it: they would wait, hold memory and write, for ever.
    """

    def watch() -> None:
        multiprocessing.connection.wait([handle])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
