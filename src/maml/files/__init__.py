"""Files and what is said of them: errors, paths, atomic writes, locks, provenance, code digests.

May import no other room.
"""
