"""Mutation testing of the pure modules: every small change of their code should make a test fail.

[mutmut](https://mutmut.readthedocs.io) changes what stands in functions; `declarations` has its operators change what
stands outside of them (columns, fields, bounds, tables), which mutmut leaves alone. `make mutants` runs both.
"""
