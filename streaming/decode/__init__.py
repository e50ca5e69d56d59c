"""
Decoding: one token more for many questions at once, in steps of which the device knows all.

    static.py    a step of fixed shapes over buffers that stay where they are: tokens feed themselves
    graphs.py    that step recorded as a CUDA graph, and replayed
    choice.py    which of them runs here, after a trial; without one, each token is an ordinary forward
"""

from .choice import Decoding, choose

__all__ = ["Decoding", "choose"]
