"""The contract: subjects, streams, buckets, ids, messages and their codec.

Everything that two processes of afield must agree on is declared in this package, and only here.
It imports nothing else of the project and nothing heavier than msgpack, so that the guest can load it.
"""
