"""Tenants, spaces and API keys: who may do what, and the Scope that says so."""
