"""Embedding generations: which model's vectors serve reads, and how another model's take their place.

::

    Catalogue        the generations that are over one tenant's data, and which of them serves
    ModelShelf       the models of this process, loaded when a generation needs them
    Embedders        both together: what writers embed with, and what a question is embedded with
    Rebuild          the worker: backfill, reconcile, verify, purge
    Gate             may this generation serve? pure figures and thresholds
    Generations      the use cases: create, pause, resume, verify, cut over, roll back, retire
"""
