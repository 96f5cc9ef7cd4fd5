"""The process's own settings: Python's cyclic collector and lock, glibc's allocator, the limit of descriptors.

- Decoding a batch makes thousands of tuples that live for milliseconds. Python's cyclic collector would walk over them,
  and over the whole table, at each of them; there are no cycles in either.
- Importing the program leaves holes in its memory: what is free goes back to the system.
- A block of the page's text has its own mapping, which goes with it. glibc would raise the size from which it makes
  one, and blocks that were replaced would stay as holes, as large as the page.
- The journal's thread takes Python's lock a dozen times in each commit, and workers wait for its end.
- Each sender may have a descriptor with us.
"""

import ctypes
import gc
import resource
import sys

M_MMAP_THRESHOLD, MAPPED_BYTES = -3, 65_536  # mallopt(3)
SWITCH_SECONDS = 0.001  # that a thread waits for Python's lock; Python's default is 0.005
GC_THRESHOLD = 100_000  # new objects until the youngest are examined; Python's default is 700


def tune_process() -> None:
    """Set what holds for the whole process, before its loop begins."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        libc.malloc_trim(0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
