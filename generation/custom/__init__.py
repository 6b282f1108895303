"""Models of one's own: drafts, their pictures, trainings and versions. Pages, REST views, admin and commands come here.

`rows` locks, `recipes` is pure, `queries` and `rules` read, `drafts`, `pictures` and `services` write. Lock order: the
training's job, the model, its version, then as everywhere wallet and slot. A training that ends locks the same way.
"""
