"""The gallery: people and their faces in Postgres.

`store.GalleryStore` is the way in. What belongs together happens in one transaction:
`GalleryStore.once` and `read` hand a `Connection` to functions of `galleries`, `people`, `samples`,
`rejections` and `merges`, each of which runs in the caller's transaction. Nothing is cached: what
one replica deletes, no other finds.
"""
