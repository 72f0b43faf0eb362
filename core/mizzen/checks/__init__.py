"""What each kind of object can get wrong about the others: plain functions from an object to diagnostics.

They look at the World as the object's own namespace sees it, and read only through the memo, so that an
object is looked at again only when something that it refers to has changed.
"""
