"""
The pocket world: small surveillance scenes whose truth is known, questions about them, and a model trained on them.

    script (who comes and goes) ─▶ world (pictures and truth) ─▶ questions ─▶ training, `vigild bench accuracy`
"""
