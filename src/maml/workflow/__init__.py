"""What people and Snakemake ask about a run: plan, status, records, DVC, trace, pages.

May import all other rooms.
"""
