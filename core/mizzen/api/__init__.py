"""The edge: manifests as people write them become frozen values, and mistakes become diagnostics.

``documents`` splits a file's text, ``parse`` reads a document or an object. One module for each kind
holds its pydantic models (the source of the CRDs), the checks that a schema cannot say, and the
conversion to the model's value. pydantic stays in here.
"""
