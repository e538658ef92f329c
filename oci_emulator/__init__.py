"""An emulator of the Oracle Cloud Infrastructure endpoints that serve machine-learning models.

One process, one port, plain HTTP on the loopback interface. The real `oci` SDK talks to it with signed
requests; a deployed model really runs, in a server process of its own. `COVERAGE.md` lists what is emulated.
"""
