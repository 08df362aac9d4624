"""How an item is found and shown: analysis, arms, fusion, reranking, packing and inference.

The innermost ring. It knows no database, no HTTP framework and no tenant table; stores reach it through
the protocols in :mod:`retrieval.ports`.
"""
