"""An emulator of the Oracle Cloud Infrastructure endpoints that serve machine-learning models.

One process, one port, plain HTTP on the loopback interface. The real `oci` SDK sends it signed requests. A deployed
model runs in separate server processes. `COVERAGE.md` lists the emulated operations.
"""
