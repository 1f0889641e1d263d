"""Artifact bytes: where a location lives, and moving files to and from it.

`methods.ArtifactsApi` holds the methods of the client; `proxy`, `served` and `local` are the three kinds of store.
"""
