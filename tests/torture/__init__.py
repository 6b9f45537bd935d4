"""Workloads whose answers are known, against the real service, while it and its stores are killed, frozen and cut off.

workloads ──▶ clients ──▶ doors: front (Hrana), direct (the file), native (Postgres)
                │
              ledger: what each client was told ──▶ verdict ◀── both stores in full, snapshots, epochs, audit log
                                                       ▲
plan (pure, from the seed) ──▶ driver: switches, verifications, faults
"""
