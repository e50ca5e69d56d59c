"""
How the pocket model is made: `vigild pocket train`.

    eyes: the encoder alone, on single pictures, from dense labels (what is in each cell, and in the picture)
    mind: the decoder on whole streams with dropped tokens, from questions and from what happened so far
"""

from .run import CHECKPOINT, Plan, train, use_threads

__all__ = ["CHECKPOINT", "Plan", "train", "use_threads"]
